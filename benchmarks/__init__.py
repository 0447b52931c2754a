"""压测 `make bench`: how fast notices are recorded, beside the bare minimum on the same server.

Compare figures of one run only: machines and days differ.
"""
