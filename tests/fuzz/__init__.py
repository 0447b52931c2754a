"""Parsers of what comes from outside, against anything at all.

`corpus/<parser>/` holds messages that were true and messages that hurt somebody once; each parser
reads them and what becomes of them by chance (`test_fuzz.py`, a minute), or for as long as one
likes by hand, guided by what it reaches: `python -m tests.fuzz <parser>` (see `__main__.py`).
"""
