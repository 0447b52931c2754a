"""How the web runs under gunicorn, unless the command line says otherwise."""

import os
import tempfile

wsgi_app = "wsgi:app"
workers = 2
# A worker waits for the channel or the database most of the time.
threads = 8
control_socket_disable = True

# What the workers count is summed up over all of them through files in this folder.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="lianjiao-metrics-")
