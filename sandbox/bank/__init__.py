"""银行沙箱 A bank for one fund centre: signed calls in real time, and files over SFTP.

| module | what is in it |
|---|---|
| `server.py` | the bank put together, its addresses, its control calls |
| `door.py` | requests let in: merchant, key, signature, time, nonce |
| `signing.py` | the bytes to sign, the headers |
| `checks.py` | the fields of requests read strictly; cards and documents |
| `codes.py` | the return codes, and the refusal that carries one |
| `accounts.py` | the tables, times and numbers, the special account |
| `cards.py` | cards with accounts behind them |
| `mandates.py` | agreements: started, confirmed, asked for, ended |
| `outcomes.py` | how debits and payouts come to their end |
| `debits.py` | debits and refunds |
| `payouts.py` | payouts and their coming back |
| `notices.py`, `forgeries.py` | back notices, true and forged |
| `bills.py` | the items of a settlement date, the statement of a day |
| `layouts.py` | the layouts of batch files as data |
| `batches.py` | batch files taken in and answered |
| `outgoing.py` | files on their way to the outbox, and their troubles |
| `sftp.py` | the SSH server |
| `views.py` | what the control call `books` shows |
"""
