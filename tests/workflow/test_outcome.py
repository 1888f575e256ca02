"""How a run ended, in words."""

from mucal.workflow.outcome import failed


def test_what_compiled_code_made_of_an_interrupt_is_an_interrupt():
    error = SystemError("returned a result with an exception set")
    error.__cause__ = KeyboardInterrupt()
    assert failed(error).status == "interrupted"
    assert failed(ValueError("a")).status == "failed"
