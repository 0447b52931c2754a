"""支付宝开放平台 Alipay's open platform in key mode (RSA2): one gateway for payments and log-in.

| module | what it knows |
|---|---|
| `keys.py` | our key and Alipay's: loaded, checked, and asked whose signature it is |
| `answers.py` | the raw JSON of an answer, cut exactly where it stands |
| `client.py` | the way out: python-alipay-sdk signs, our session sends, answers are verified |

Certificate mode is not here yet: it needs two serial numbers inside the signed request and takes
Alipay's key out of a certificate.
"""
