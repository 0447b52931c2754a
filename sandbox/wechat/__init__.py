"""微信支付沙箱 WeChat Pay v2 and the mini-program log-in, as the real service would answer.

| module | what is in it |
|---|---|
| `server.py` | the gateway put together, its addresses, its control calls |
| `protocol.py` | the signed calls: let in, carried out, answered; troubles with answers |
| `signing.py` | XML read and written, MD5 and HMAC-SHA256 signatures, `req_info` |
| `checks.py` | which fields each call needs and how they must look |
| `orders.py` | orders, the wallet's payment, closing |
| `refunds.py` | refunds |
| `contracts.py` | 委托代扣: plans, contracts signed, asked for, ended |
| `debits.py` | debits under a contract |
| `announcements.py` | 预扣费通知, without which some plans let nothing be taken |
| `v3.py` | the calls of API v3: headers checked, answers signed |
| `views.py` | what the control API shows of the books |
| `accounts.py` | the tables, and the money of payers and of the merchant |
| `notices.py` | notices, true and forged |
| `bills.py` | the bill and the fund-flow bill |
| `messages.py` | access tokens and subscribe messages |
| `login.py` | `jscode2session` |
"""
