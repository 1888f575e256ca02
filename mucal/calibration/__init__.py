"""The product: tables and named nuisances, applied to muons."""
