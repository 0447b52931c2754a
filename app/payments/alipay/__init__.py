"""支付宝 Alipay for a mini-program (JSAPI_PAY), in key mode (RSA2).

| module | what it knows |
|---|---|
| `channel.py` | `AlipayPay`: the ports, and what each answer means |
| `callbacks.py` | the way in: notices of payments and refunds, and messages of the platform |
| `amounts.py` | fen as Alipay writes them in yuan, and back |

The way out and the keys are `app/platforms/alipay`, because log-in goes through the same gateway.

Not here yet: agreements (周期扣款 / 商家扣款), the daily bill, certificate mode. Notices of
agreements and messages of the platform are verified and acknowledged: they say nothing of money.
"""
