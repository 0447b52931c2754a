"""Sandbox gateways 沙箱支付网关: the outside world for the demo and the tests. See README.md."""
