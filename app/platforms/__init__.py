"""What payments and connectors share of the platforms outside: the ways out, and whose word counts.

| module | what it knows |
|---|---|
| `http.py` | the guarded HTTP session, and the two ways in which a call brings no result |
| `rsa.py` | RSA keys in files, and signatures by them |
| `alipay/` | 支付宝开放平台: keys, signed calls, verified answers, for payments and log-in |

It knows no channel's meaning of anything, no database and no rules.
"""
