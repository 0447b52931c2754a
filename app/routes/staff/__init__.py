"""The staff API, `/staff/api/v1`, until the console's pages come. Every write names its roles."""

from app.routes.staff import breaks, refunds, session

BLUEPRINTS = (session.blueprint, refunds.blueprint, breaks.blueprint)
