"""支付宝 Alipay for a mini-program, in key mode (RSA2): payments (JSAPI_PAY) and debits.

| module | what it knows |
|---|---|
| `channel.py` | `AlipayPay`: payments and refunds, and the notices of everything |
| `debits.py` | `AlipayDebits`: agreements (商家扣款 or 周期扣款), and debits under them |
| `answers.py` | what is told of a trade and of an agreement, read strictly |
| `callbacks.py` | the way in: notices of trades and agreements, and messages of the platform |
| `amounts.py` | fen as Alipay writes them in yuan, and back |

The way out and the keys are `app/platforms/alipay`, because log-in goes through the same gateway.

Which product debits, its scene and the cap of the contract are settings; without a product there
are no debits. 周期扣款 takes at most 100 yuan at once, and moving a due day that was missed
(executionplan.modify) is not here: with 商家扣款 nothing is due at Alipay.

Not here yet: the daily bill, certificate mode. Messages of the platform are verified and
acknowledged: they say nothing of money.
"""
