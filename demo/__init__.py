"""连缴演示 `make demo`: the fund and its outside world as real processes, and a story told on them.

A program of its own: it starts processes and speaks HTTP, and imports neither `app` nor `sandbox`.
"""
