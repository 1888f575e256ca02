"""The page stands alone, escapes what it is given, and says first what came out."""

import re
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from mucal.report.page import Facts, Picture, Section, Table, Text, render
from mucal.report.run_results import p_text, probability

VOID = {"meta", "img", "br", "link"}


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page() -> str:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [0, 1])
    sections = [
        Section(title="First", items=(Text(text="a < b & c"), Picture(figure=figure, caption="A line."))),
        Section(title="Numbers", items=(Table(head=["name", "value"], rows=[["<x>", "1"]], caption="All"),)),
        Section(title="Folded", items=(Table(head=["n"], rows=[["1"]], caption="More", fold=True),)),
        Section(title="Nothing"),
        Section(title="Facts", items=(Facts(facts={"seed": "1"}, small=True),)),
    ]
    return render("A <title>", "It worked.", "good", sections, headline=["one line"])


def test_the_page_is_balanced_html():
    parser = Balanced()
    parser.feed(page())
    assert parser.open == []


def test_nothing_is_fetched():
    sources = re.findall(r'(?:src|href)="([^"]+)"', page())
    assert all(source.startswith(("data:", "#")) for source in sources)


def test_text_is_escaped():
    assert "a &lt; b &amp; c" in page()
    assert "&lt;x&gt;" in page()
    assert "<title>A &lt;title&gt;</title>" in page()


def test_sections_without_content_are_left_out():
    assert "Nothing" not in page()


def test_every_link_leads_somewhere():
    text = page()
    for anchor in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{anchor}"' in text


def test_the_verdict_stands_before_everything_else():
    text = page()
    assert text.index("It worked.") < text.index("one line") < text.index("First")


def test_pictures_have_words_for_those_who_cannot_see_them():
    assert 'alt="A line."' in page()


@pytest.mark.parametrize(
    ("p", "sentence", "cell"),
    [
        (0.25, "p = 0.25", "0.25"),
        (0.0, "p < 1e-20", "< 1e-20"),
        (0.0042, "p = 0.0042", "0.0042"),
        (1.0, "p = 1.00", "1.00"),
    ],
)
def test_probabilities_are_told_in_two_digits_or_as_a_bound(p: float, sentence: str, cell: str):
    assert p_text(p) == sentence
    assert probability(p) == cell
