"""The mini-program's API, `/api/v1`. Everything but log-in asks for the contributor's token."""

from app.routes.citizen import (
    account,
    agreement,
    debits,
    deposits,
    enrolment,
    mandates,
    me,
    messages,
    refunds,
    session,
)

BLUEPRINTS = (
    session.blueprint,
    enrolment.blueprint,
    me.blueprint,
    account.blueprint,
    agreement.blueprint,
    mandates.blueprint,
    messages.blueprint,
    debits.blueprint,
    deposits.blueprint,
    refunds.blueprint,
)
