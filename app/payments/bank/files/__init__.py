"""批量代扣文件: debits by files, laid out as `config/bank_layouts/<name>.yaml` says.

| module | what it knows |
|---|---|
| `batches.py` | `BankFiles`: the port, made of the others |
| `layouts.py` | a layout as data: records, fields, names |
| `writing.py` | a batch rendered line by line, with its digest and signature |
| `reading.py` | an answer checked as a whole, then read line by line |
| `server.py` | the file server: SFTP with a pinned host key |
"""
