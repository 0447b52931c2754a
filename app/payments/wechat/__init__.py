"""微信支付 WeChat Pay, API v2 (XML, MD5), over wechatpy.

| module | what it knows |
|---|---|
| `channel.py` | `WeChatPay`: the ports, and what each answer means |
| `client.py` | the way out: every answer verified before anyone sees it |
| `callbacks.py` | the way in: payment and refund notices |
| `envelope.py` | the hardened XML reader and the strict readers of amounts |
| `signing.py` | the MD5 signature, and wechatpy's logs kept free of the key |

API v3 would stand beside v2, not inside it: a package `v3/` with its own `client.py`
(WECHATPAY2-SHA256-RSA2048 over JSON; it verifies Wechatpay-Signature, -Serial and -Timestamp as
`client.py` verifies `sign` here), its own `callbacks.py` (AEAD_AES_256_GCM) and a `channel.py`
that implements the same protocols. The numbers, `trade_state` words and refund statuses of v3 are
the same, so it would share the readers of `app/payments/values.py` and the `trade_state` and
`refund_status` rows of `config/reasons/wechat.yaml`, with its own rows for each call's codes. The
domain knows a channel by name only, so orders placed under v2 can go on being asked for under v2
while new ones are placed under v3. Callbacks tell themselves apart by their headers.
"""
