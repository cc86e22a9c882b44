"""Whose keys and acts an admin has in hand: its own tenant's, or, in the operators' tenant, those of all."""

import re

from starlette.requests import Request

from carom_intake.auth import Caller
from carom_intake.domain.checks import Problem
from carom_intake.domain.keys import TENANT
from carom_intake.problems import HttpProblem


class Tenancy:
    """`operators` is the tenant of those who run Carom; none where it is empty."""

    def __init__(self, operators: str) -> None:
        self._operators = operators

    def manages(self, caller: Caller, tenant: str) -> bool:
        return tenant == caller.tenant or (bool(self._operators) and caller.tenant == self._operators)

    def of(self, caller: Caller, tenant: str | None) -> str:
        """The tenant that is asked for, or the caller's; 403 for one that is not in the caller's hand."""
        if tenant is None:
            return caller.tenant
        if not self.manages(caller, tenant):
            raise HttpProblem(403, f"this needs a key of the tenant {tenant}, or of the operators")
        return tenant

    def asked(self, request: Request, caller: Caller) -> tuple[str, list[tuple[str, str]]]:
        """The tenant that the query names, or the caller's; and what else is in the query."""
        given = request.query_params.getlist("tenant")
        if len(given) > 1 or (given and not re.fullmatch(TENANT, given[0])):
            problem = Problem("?tenant", "must be given once, and match " + TENANT)
            raise HttpProblem(400, f"the query is not valid: tenant {problem.detail}", [problem])
        others = [(name, value) for name, value in request.query_params.multi_items() if name != "tenant"]
        return self.of(caller, given[0] if given else None), others
