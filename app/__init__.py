"""Lianjiao 连缴: housing provident fund contributions of people in flexible employment."""

__version__ = "0.1.0"
