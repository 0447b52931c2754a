# One image for the web workers, the scheduler and every `flask --app wsgi …` command.
FROM python:3.11-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONUTF8=1

# What PDF files are written with.
RUN apt-get update \
    && apt-get install -y --no-install-recommends fonts-noto-cjk \
    && rm -rf /var/lib/apt/lists/*

# Migrations and static files are found from here.
WORKDIR /srv/lianjiao

COPY requirements.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt

COPY LICENSE wsgi.py gunicorn.conf.py ./
COPY app app/
COPY config config/
COPY migrations migrations/

# A number, not only a name, so that key files on the host can be given to it. The program writes
# no file but its counters in /tmp: its home is not even there.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin lianjiao
USER 10001

EXPOSE 8000

# The heartbeat in memory: on a slow disk a worker would seem dead.
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--worker-tmp-dir", "/dev/shm"]
