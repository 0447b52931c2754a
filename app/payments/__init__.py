"""Money to and from the outside: adapters of `app.domain.ports`. No database, no rules."""
