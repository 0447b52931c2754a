"""Messages to people: the mini-program messages of WeChat and Alipay.

| module | what it knows |
|---|---|
| `templates.py` | a platform's templates: their ids, and which field goes to which key |
| `wechat.py` | 订阅消息: access token, types of a template's keys, error codes |
| `alipay.py` | `alipay.open.app.mini.templatemessage.send` |
| `registry.py` | the platforms by name |
"""
