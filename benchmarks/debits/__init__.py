"""压测 `make bench-debits`: a day of debits, beside the bare statements on the same server.

Compare figures of one run only: machines and days differ.
"""
