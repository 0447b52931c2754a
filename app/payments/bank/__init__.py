"""银行代收: debits under agreements that a person signs with the bank's card.

| module | what it knows |
|---|---|
| `channel.py` | `BankGateway`: the ports in real time, and what each answer means |
| `client.py` | the way out: signed requests, every answer verified before anyone sees it |
| `callbacks.py` | the way in: notices of debits and agreements |
| `answers.py` | a debit and an agreement as queries and notices tell of them |
| `envelope.py` | signatures in headers, their hour and their nonce; the strict JSON reader |
| `keys.py` | our key and the bank's, by their numbers |
| `files/` | `BankFiles`: debits by files |

The protocol is shaped after UnionPay's 代收: `code` is about the message, `orig_code` about the
debit. The numbers of both are UnionPay's, and what they mean stands in `config/reasons/bank.yaml`.
"""
