"""支付宝沙箱 Alipay's open platform for one mini-program, as the real service would answer.

| module | what is in it |
|---|---|
| `server.py` | the gateway put together, its addresses, its control calls |
| `door.py` | requests read, their signatures and public parameters checked |
| `checks.py` | refusals, and `biz_content` read strictly |
| `answers.py` | answers written in changing shapes and signed |
| `signing.py` | the texts to sign |
| `trades.py` | trades: created, asked for, paid by the wallet, closed |
| `agreements.py` | agreements of 商家扣款 and 周期扣款: signed, asked for, put off, ended |
| `debits.py` | `alipay.trade.pay` under an agreement |
| `views.py` | what the control API shows of the books |
| `refunds.py` | refunds, and cancelling a trade |
| `accounts.py` | the tables, and the money of payers and of the seller |
| `notices.py` | notices, true and forged |
| `bills.py` | the daily bill, and the address it is fetched from |
| `messages.py` | messages of the mini-program, and what people have agreed to receive |
| `login.py` | payers, and `alipay.system.oauth.token` |
"""
