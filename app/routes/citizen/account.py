"""One's own account: balance, this year's deposits, months counted, and the statement."""

from __future__ import annotations

from apiflask import APIBlueprint
from pydantic import Field

from app.domain.account_overview import account_overview
from app.domain.calendar import month_bounds
from app.domain.contributors.models import AccountStatus
from app.domain.ledger.models import EntryKind
from app.domain.ledger.queries import statement
from app.routes.citizen.debit_shapes import NEXT_DEBIT, NextDebitOut
from app.routes.citizen.schemas import Day, Fen, Instant, Page
from app.routes.guards import account_id, citizen_auth, ports
from app.routes.json import Out

blueprint = APIBlueprint("account", __name__, url_prefix="/api/v1/account", tag="账户")

ACCOUNT = {
    "account_no": "3207123456789015",
    "status": "normal",
    "balance_fen": 74300,
    "available_fen": 62150,
    "held_fen": 12150,
    "year": 2026,
    "deposited_this_year_fen": 24300,
    "yearly_cap_fen": 6000000,
    "room_fen": 5975700,
    "monthly_minimum_fen": 12150,
    "months_counted": 2,
    "months": ["2026-10", "2026-11"],
    "months_to_loan_gate": 4,
    "opening_subsidy_fen": 50000,
    "next_debit": NEXT_DEBIT,
}
ENTRIES = {
    "items": [
        {
            "entry_id": 1027,
            "business_date": "2026-11-24",
            "posted_at": "2026-11-24T10:00:03+08:00",
            "kind": "deposit",
            "memo": "灵活缴存",
            "amount_fen": 12150,
            "balance_fen": 74300,
        }
    ],
    "next_cursor": 1027,
}


class AccountOut(Out):
    """The account at a glance."""

    account_no: str
    status: AccountStatus = Field(description="正常、封存、销户、冻结")
    balance_fen: Fen
    available_fen: Fen = Field(description="余额减去退款等占用，单位：分")
    held_fen: Fen = Field(description="退款等占用，单位：分")
    year: int = Field(description="自然年度")
    deposited_this_year_fen: Fen = Field(description="本自然年度已缴存（减退款），单位：分")
    yearly_cap_fen: Fen | None = Field(description="年度缴存上限，单位：分；当年上限尚未公布时为空")
    room_fen: Fen | None = Field(
        description="本自然年度还可缴存（含待支付订单的占用），单位：分；当年上限尚未公布时为空"
    )
    monthly_minimum_fen: Fen = Field(description="最低月缴存额，单位：分")
    months_counted: int = Field(description="累计缴存月数")
    months: list[str] = Field(description="已计入的缴存月份", examples=[["2026-10", "2026-11"]])
    months_to_loan_gate: int = Field(description="距可申请贷款还需的累计缴存月数")
    opening_subsidy_fen: Fen = Field(description="已发放的开户补贴，单位：分")
    next_debit: NextDebitOut | None = Field(
        description="已提示或将重试的下一笔扣款；没有时为空，以后各期见 /api/v1/debits/next"
    )


class EntryOut(Out):
    """One movement; `amount_fen` positive is money in."""

    entry_id: int
    business_date: Day = Field(description="记账日期")
    posted_at: Instant
    kind: EntryKind
    memo: str
    amount_fen: Fen = Field(description="正数为存入，负数为支出，单位：分")
    balance_fen: Fen = Field(description="该笔之后的余额，单位：分")


class EntriesOut(Out):
    """A page of movements, newest first."""

    items: list[EntryOut]
    next_cursor: int | None


class EntriesQuery(Page):
    """One month, or everything."""

    month: str | None = Field(
        default=None,
        pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$",
        description="只看一个月；不填为全部",
        examples=["2026-11"],
    )


@blueprint.get("")
@blueprint.auth_required(citizen_auth)
@blueprint.output(AccountOut, example=ACCOUNT)
@blueprint.doc(
    operation_id="get_account",
    summary="账户概览",
    description="余额、本自然年度的缴存与剩余额度、累计月数、下一笔扣款。"
    "当日无适用的政策参数时为 422。",
    responses=[409, 422],
)
def show() -> AccountOut:
    """Return balance, room under the yearly cap and months counted."""
    own = account_id()
    overview = ports().read(
        lambda session: account_overview(session, account_id=own, now=ports().now())
    )
    return AccountOut.model_validate(overview, from_attributes=True)


@blueprint.get("/entries")
@blueprint.auth_required(citizen_auth)
@blueprint.input(EntriesQuery, location="query")
@blueprint.output(EntriesOut, example=ENTRIES)
@blueprint.doc(
    operation_id="list_entries",
    summary="账户明细",
    description="每笔收支及其后的余额，可按月查看。",
    responses=[409],
)
def entries(query_data: EntriesQuery) -> EntriesOut:
    """Return the statement by month with the running balance."""
    own = account_id()
    first, last = month_bounds(query_data.month) if query_data.month else (None, None)
    lines = ports().read(
        lambda session: statement(
            session,
            account_id=own,
            first=first,
            last=last,
            before_entry=query_data.cursor,
            limit=query_data.limit + 1,
        )
    )
    page = lines[: query_data.limit]
    return EntriesOut(
        items=[EntryOut.model_validate(line, from_attributes=True) for line in page],
        next_cursor=page[-1].entry_id if len(lines) > query_data.limit else None,
    )
