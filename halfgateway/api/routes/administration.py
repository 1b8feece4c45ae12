"""What SYN's operations do to the node itself."""

from __future__ import annotations

from auth.principals import Principal, Role
from auth.trace import Kind
from halfgateway.api.operation import Call, operation
from halfgateway.api.paths import API
from halfgateway.api.ports import Administration
from halfgateway.api.problems import Fault, InvalidCall
from halfgateway.api.shapes import ReloadAnswer
from halfgateway.config import ConfigurationError
from halfgateway.errors import InvalidRequest, TraceUnavailable


class AdministrationRoutes:
    """Changes of the node's own; each is traced behind the port."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    @operation(
        "POST",
        f"{API}/admin/reload",
        summary="Read the configuration again, and apply what differs",
        roles={Role.OPS},
        errors=(InvalidRequest, TraceUnavailable),
        traces=(Kind.CONFIG_CHANGED,),
    )
    async def reload_configuration(self, call: Call, principal: Principal) -> ReloadAnswer:
        """Apply the whole of it, or none of it and list every fault."""
        try:
            outcome = await self._administration.reload(account=principal.account, source=call.source)
        except ConfigurationError as error:
            raise InvalidCall([_fault(fault) for fault in error.faults]) from error
        return ReloadAnswer(sha256=outcome.sha256, changed=tuple(outcome.changed))


def _fault(fault: str) -> Fault:
    where, separator, message = fault.partition(": ")
    return Fault(where=where, message=message) if separator else Fault(where="configuration", message=fault)
