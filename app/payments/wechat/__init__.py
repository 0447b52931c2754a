"""微信支付 WeChat Pay, API v2 (XML, MD5), over wechatpy.

| module | what it knows |
|---|---|
| `channel.py` | `WeChatPay`: payments, refunds, notices, and what each answer means |
| `debiting.py` | `WeChatDebits` (委托代扣): contracts that people sign, debits under them |
| `answers.py` | a contract and a debit as queries and notices tell of them |
| `client.py` | the way out: every answer verified before anyone sees it |
| `callbacks.py` | the way in: payment, refund, debit and contract notices |
| `envelope.py` | the hardened XML reader and the strict readers of amounts |
| `signing.py` | the MD5 signature, and wechatpy's logs kept free of the key |
| `v3.py` | the way out by API v3 (JSON, RSA), answers verified |
| `announcing.py` | `WeChatAnnouncements`: the one call of v3 that 委托代扣 needs |

Payments by API v3 would stand beside v2, not inside it: over the client of `v3.py`, with their own
callbacks (AEAD_AES_256_GCM) and a `channel.py` that implements the same protocols. The numbers,
`trade_state` words and refund statuses of v3 are the same, so they would share the readers of
`app/payments/values.py` and the `trade_state` and `refund_status` rows of
`config/reasons/wechat.yaml`, with their own rows for each call's codes. The domain knows a channel
by name only, so orders placed under v2 can go on being asked for under v2 while new ones are
placed under v3. Callbacks tell themselves apart by their headers.
"""
