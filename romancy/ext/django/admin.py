"""Instances in Django's admin: a list, a search, and a page for each. Nothing can be changed there."""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import path

from romancy.errors import QueryError, RomancyError, UsageError
from romancy.ext.django._process import opened_app
from romancy.ext.django._shown import lines_of, text_of_input
from romancy.ext.django.models import Instance
from romancy.status import Status

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    Admin = admin.ModelAdmin[Instance]
else:
    Admin = admin.ModelAdmin

__all__ = ["InstanceAdmin"]

_EACH: Final = 50
_MOST_ENTRIES: Final = 1000


@admin.register(Instance)
class InstanceAdmin(Admin):
    """Reads through the app of this process. Visitors need the permission `romancy.view_instance`."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - nobody may
        return False

    def has_change_permission(self, request: HttpRequest, obj: Instance | None = None) -> bool:  # noqa: ARG002 - nobody may
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Instance | None = None) -> bool:  # noqa: ARG002 - nobody may
        return False

    def get_urls(self) -> list[URLPattern]:
        """The list and the page: the others would ask for a table."""
        within = self.admin_site.admin_view
        return [
            path("", within(self.changelist_view), name="romancy_instance_changelist"),
            path("<path:object_id>/change/", within(self.change_view), name="romancy_instance_change"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self._check_permission(request)
        asked = {name: request.GET.get(name, "").strip() for name in ("q", "workflow", "status", "page")}
        found, fault, status = None, None, HTTPStatus.OK
        try:
            found = opened_app().list_instances(
                instance_id=asked["q"] or None,
                workflow_name=asked["workflow"] or None,
                status=Status(asked["status"]) if asked["status"] in list(Status) else None,
                limit=_EACH,
                page_token=asked["page"] or None,
            )
        except (QueryError, UsageError) as error:
            fault, status = str(error), HTTPStatus.BAD_REQUEST
        except RomancyError as error:
            fault, status = str(error), HTTPStatus.SERVICE_UNAVAILABLE
        query = request.GET.copy()
        query["page"] = (found.next_page_token if found is not None else None) or ""
        values = {
            "title": "Workflow instances",
            "asked": asked,
            "instances": [] if found is None else found.instances,
            "older": query.urlencode() if query["page"] else None,
            "statuses": list(Status),
            "fault": fault,
        }
        return self._page(request, "romancy/instances.html", {**values, **(extra_context or {})}, status)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",  # noqa: ARG002 - as Django calls it
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        self._check_permission(request)
        values: dict[str, Any] = {"title": object_id}
        status = HTTPStatus.OK
        try:
            app = opened_app()
            instance = app.get_instance(object_id)
            if instance is None:
                raise Http404("there is no such instance")
            entries = list(islice(app.entries_of(object_id), _MOST_ENTRIES + 1))
            values |= {
                "instance": instance,
                "input": text_of_input(instance, app.codecs),
                "lines": lines_of(entries[:_MOST_ENTRIES]),
                "cut": len(entries) > _MOST_ENTRIES,
                "reasons": app.explain(object_id),
            }
        except RomancyError as error:
            values["fault"], status = str(error), HTTPStatus.SERVICE_UNAVAILABLE
        return self._page(request, "romancy/instance.html", {**values, **(extra_context or {})}, status)

    def _check_permission(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _page(self, request: HttpRequest, template: str, values: dict[str, Any], status: HTTPStatus) -> HttpResponse:
        request.current_app = self.admin_site.name  # as Django's own views do
        context = {**self.admin_site.each_context(request), "opts": self.opts, **values}
        return TemplateResponse(request, template, context, status=status)
