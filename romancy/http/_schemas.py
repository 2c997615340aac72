"""The schemas of what the routes take and answer, for the OpenAPI document. Pure."""

from __future__ import annotations

from typing import Any, Final

from romancy.status import Status

__all__ = ["ID", "SCHEMAS"]

ID: Final = {"type": "string", "minLength": 1, "maxLength": 255}
"""An id or a name."""
_EVENT: Final = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1, "maxLength": 255},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"type": "string", "minLength": 1},
        "dataschema": {"type": "string", "minLength": 1},
        "romancyinstanceid": {**ID, "description": "the instance that the event is for"},
        "data": {},
        "data_base64": {"type": "string", "contentEncoding": "base64"},
    },
}
_PAUSED: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name", "reason", "since"],
        "properties": {
            "name": {"type": "string"},
            "reason": {"type": "string"},
            "since": {"type": "string", "format": "date-time"},
        },
    },
}
_STEPS: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["kind", "id", "name", "outcome"],
        "properties": {name: {"type": "string"} for name in ("kind", "id", "name", "outcome")},
    },
}
_SPAN: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["at", "begun", "ended", "failed", "open", "whole"],
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "begun": {"type": "integer"},
        "ended": {"type": "integer"},
        "failed": {"type": "integer"},
        "open": {"type": ["integer", "null"]},
        "whole": {"type": "boolean"},
    },
}
SCHEMAS: Final[dict[str, Any]] = {
    "CloudEvent": _EVENT,
    "Accepted": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["accepted", "ignored"]},
            "instance_id": {"type": "string"},
            "duplicate": {"type": "boolean", "description": "the event had been accepted before"},
            "events": {"type": "array", "items": {"type": "object"}, "description": "for each event of a batch"},
        },
    },
    "Refused": {
        "type": "object",
        "required": ["error", "error_type", "retryable"],
        "properties": {
            "error": {"type": "string"},
            "error_type": {"type": "string"},
            "retryable": {"type": "boolean"},
            "events": {"type": "array", "items": {"type": "object"}},
        },
    },
    "Instance": {
        "type": "object",
        "required": ["instance_id", "workflow", "status", "created_at", "updated_at"],
        "properties": {
            "instance_id": {"type": "string"},
            "workflow": {"type": "string"},
            "status": {"enum": [str(status) for status in Status]},
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
            "wakes_at": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "null, and the status running, during a sleep of at most two seconds",
            },
            "parent_id": {"type": ["string", "null"]},
            "priority": {"type": "integer"},
            "fair_key": {
                "type": "string",
                "description": "on whose behalf it was started, where the headers are shown",
            },
            "result": {"description": "of a completed instance, in a list with results=true; else null or absent"},
            "result_unreadable": {"type": "string", "description": "why the result cannot be read here"},
            "headers": {
                "type": ["object", "null"],
                "additionalProperties": {"type": "string"},
                "description": "what the starter sent; in a list with headers=true",
            },
            "headers_unreadable": {"type": "string", "description": "why the headers cannot be read here"},
            "untaken": {
                "type": "array",
                "description": "requests and events that no worker has taken, or that fit no wait",
                "items": {
                    "type": "object",
                    "required": ["kind", "at", "name", "key", "id"],
                    "properties": {
                        "kind": {"enum": ["cancel", "pause", "terminate", "signal", "answer", "refusal", "sealed"]},
                        "at": {"type": "string", "format": "date-time"},
                        "name": {"type": "string"},
                        "key": {"type": ["string", "null"]},
                        "id": {"type": "string"},
                    },
                },
            },
            "error": {"type": ["string", "null"]},
        },
    },
    "Instances": {
        "type": "object",
        "required": ["instances", "next_page"],
        "properties": {
            "instances": {"type": "array", "items": {"$ref": "#/components/schemas/Instance"}},
            "next_page": {"type": ["string", "null"]},
        },
    },
    "Counts": {
        "type": "object",
        "required": ["count", "by_status", "by_workflow"],
        "properties": {
            "count": {"type": "integer"},
            "by_status": {"type": "object", "additionalProperties": {"type": "integer"}},
            "by_workflow": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
    },
    "Lines": {
        "type": "object",
        "required": ["lines", "next"],
        "properties": {
            "lines": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["at", "level", "message", "run", "activity_id", "attempt", "error", "cursor"],
                    "properties": {
                        "at": {"type": "string", "format": "date-time"},
                        "level": {"type": "string"},
                        "message": {"type": "string"},
                        "run": {"type": "integer"},
                        "activity_id": {"type": ["string", "null"]},
                        "attempt": {"type": ["integer", "null"]},
                        "error": {"type": ["string", "null"]},
                        "cursor": {"type": "string"},
                    },
                },
            },
            "next": {"type": ["string", "null"]},
        },
    },
    "Result": {
        "type": "object",
        "required": ["instance_id", "status"],
        "properties": {
            "instance_id": {"type": "string"},
            "status": {"enum": [str(status) for status in Status]},
            "result": {},
            "error": {"type": "string"},
            "error_type": {"type": "string"},
            "reason": {"type": "string"},
        },
    },
    "Answered": {
        "type": "object",
        "required": ["instance_id", "id", "status"],
        "properties": {
            "instance_id": {"type": "string"},
            "id": {"type": "string"},
            "status": {"enum": ["accepted", "answered", "refused", "failed", "unanswered"]},
            "reply": {},
            "error": {"type": "string"},
            "error_type": {"type": "string"},
        },
    },
    "Schedule": {
        "type": "object",
        "required": ["schedule_id", "workflow", "due", "paused", "next", "started", "skipped", "failed"],
        "properties": {
            "schedule_id": {"type": "string"},
            "workflow": {"type": "string"},
            "due": {"type": "string", "description": "when it is due, in words"},
            "overlap": {"enum": ["skip", "buffer_one", "allow"]},
            "catchup": {"type": "string"},
            "pause_on_failure": {"type": "boolean"},
            "paused": {"type": ["string", "null"], "description": "why it is paused; null: it is not"},
            "next": {"type": ["string", "null"], "format": "date-time"},
            "started": {"type": "integer"},
            "skipped": {"type": "integer"},
            "failed": {"type": "integer"},
            "runs": {
                "type": "array",
                "description": "of one schedule: the last ten",
                "items": {
                    "type": "object",
                    "required": ["instance_id", "scheduled_at", "outcome"],
                    "properties": {
                        "instance_id": {"type": "string"},
                        "scheduled_at": {"type": "string", "format": "date-time"},
                        "outcome": {"enum": ["open", "completed", "failed", "cancelled", "joined"]},
                    },
                },
            },
        },
    },
    "Schedules": {
        "type": "object",
        "required": ["schedules"],
        "properties": {"schedules": {"type": "array", "items": {"$ref": "#/components/schemas/Schedule"}}},
    },
    "Ordered": {
        "type": "object",
        "required": ["status", "schedule_id"],
        "properties": {"status": {"const": "accepted"}, "schedule_id": {"type": "string"}},
    },
    "Window": {
        "type": "object",
        "required": ["window_id", "kind", "workflow", "key", "calls", "since", "due", "started"],
        "properties": {
            "window_id": {"type": "string"},
            "kind": {"enum": ["debounce", "batch"]},
            "workflow": {"type": "string"},
            "key": {"type": "string"},
            "calls": {"type": "integer", "description": "how many calls have come that are in no start yet"},
            "since": {"type": ["string", "null"], "format": "date-time", "description": "when the first of them came"},
            "due": {"type": ["string", "null"], "format": "date-time", "description": "when it closes"},
            "started": {"type": "integer"},
            "starts": {
                "type": "array",
                "description": "of one window: the last ten",
                "items": {
                    "type": "object",
                    "required": ["instance_id", "calls", "at"],
                    "properties": {
                        "instance_id": {"type": "string"},
                        "calls": {"type": "integer"},
                        "at": {"type": "string", "format": "date-time"},
                    },
                },
            },
        },
    },
    "Windows": {
        "type": "object",
        "required": ["windows", "next_page"],
        "properties": {
            "windows": {"type": "array", "items": {"$ref": "#/components/schemas/Window"}},
            "next_page": {"type": ["string", "null"]},
        },
    },
    "Called": {
        "type": "object",
        "required": ["status", "window_id"],
        "properties": {"status": {"const": "accepted"}, "window_id": {"type": "string"}},
    },
    "Rates": {
        "type": "object",
        "required": ["workflows", "since", "until", "begun_since", "ended_since", "uncounted"],
        "properties": {
            "workflows": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["workflow_name", "open", "statuses", "due", "begun", "ended", "failed", "over_time"],
                    "properties": {
                        "workflow_name": {"type": "string"},
                        "open": {"type": "integer"},
                        "statuses": {"type": "object", "additionalProperties": {"type": "integer"}},
                        "due": {"type": "integer", "description": "how many of them wait for a worker"},
                        "oldest": {"type": ["string", "null"], "format": "date-time"},
                        "more": {"type": "boolean", "description": "too many are open to count them all"},
                        "begun": {"type": "number", "description": "in a minute"},
                        "ended": {"type": "number", "description": "in a minute, failed ones included"},
                        "failed": {"type": "number", "description": "in a minute"},
                        "change": {"type": ["integer", "null"], "description": "null: not all was counted"},
                        "over_time": {"type": "array", "minItems": 12, "maxItems": 12, "items": _SPAN},
                    },
                },
            },
            "since": {"type": "string", "format": "date-time"},
            "until": {"type": "string", "format": "date-time", "description": "the time of the database"},
            "begun_since": {"type": "string", "format": "date-time", "description": "begins are counted from here on"},
            "ended_since": {"type": "string", "format": "date-time", "description": "ends are counted from here on"},
            "uncounted": {"type": "array", "items": {"type": "string"}},
        },
    },
    "Failures": {
        "type": "object",
        "required": ["groups", "looked_at", "more"],
        "properties": {
            "groups": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["group", "workflow_name", "activity", "error_type", "text", "number", "since"],
                    "properties": {
                        "group": {"type": "string", "description": "error= of a filter takes it"},
                        "workflow_name": {"type": "string"},
                        "activity": {"type": "string", "description": "empty: the workflow's own code"},
                        "error_type": {"type": "string"},
                        "text": {"type": "string", "description": "what differs from instance to instance is …"},
                        "number": {"type": "integer"},
                        "since": {"type": "string", "format": "date-time"},
                        "last_seen": {"type": "string", "format": "date-time"},
                        "last_instance": {"type": "string"},
                        "first_release": {"type": "string"},
                        "last_release": {"type": "string"},
                        "silenced": {"type": "boolean"},
                        "reason": {"type": "string"},
                    },
                },
            },
            "looked_at": {"type": "integer", "description": "how many failed instances, the newest"},
            "more": {"type": "boolean"},
        },
    },
    "Questions": {
        "type": "object",
        "required": ["questions", "next_page"],
        "properties": {
            "questions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["token", "instance_id", "workflow_name", "name", "question", "schema", "since"],
                    "properties": {
                        "token": {"type": "string", "description": "whoever has it can answer"},
                        "instance_id": {"type": "string"},
                        "workflow_name": {"type": "string"},
                        "name": {"type": "string"},
                        "question": {"type": "string"},
                        "schema": {"type": "object", "description": "the JSON schema of the answer"},
                        "to": {"type": ["string", "null"]},
                        "since": {"type": "string", "format": "date-time"},
                        "due": {"type": ["string", "null"], "format": "date-time"},
                        "misfit": {"type": "string", "description": "why the last answer was put aside"},
                        "sealed": {"type": "boolean"},
                    },
                },
            },
            "next_page": {"type": ["string", "null"]},
        },
    },
    "Answering": {"type": "object", "required": ["status"], "properties": {"status": {"const": "done"}}},
    "Limits": {
        "type": "object",
        "required": ["limits"],
        "properties": {
            "limits": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": [
                        "limit",
                        "key",
                        "taken",
                        "waiting",
                        "oldest",
                        "holders",
                        "concurrency",
                        "rate",
                        "chosen",
                        "paused",
                    ],
                    "properties": {
                        "limit": {"type": "string"},
                        "key": {"type": "string", "description": "empty: it has none; a long one is told by its hash"},
                        "taken": {"type": "integer", "description": "how many places are taken"},
                        "waiting": {"type": "integer"},
                        "oldest": {"type": ["string", "null"], "format": "date-time"},
                        "holders": {"type": "array", "items": {"type": "string"}, "description": "the first ten"},
                        "concurrency": {"type": ["integer", "null"]},
                        "rate": {
                            "type": ["array", "null"],
                            "items": {"type": "number"},
                            "minItems": 2,
                            "maxItems": 2,
                            "description": "how many in how many seconds",
                        },
                        "chosen": {"type": "boolean", "description": "whether an operator has chosen the numbers"},
                        "paused": {"type": "boolean"},
                    },
                },
            }
        },
    },
    "LimitDone": {
        "type": "object",
        "required": ["status", "limit"],
        "properties": {"status": {"const": "done"}, "limit": {"type": "string"}},
    },
    "Pauses": {
        "type": "object",
        "required": ["activities", "workflows"],
        "properties": {"activities": _PAUSED, "workflows": _PAUSED},
    },
    "PauseDone": {
        "type": "object",
        "required": ["status", "name"],
        "properties": {"status": {"const": "done"}, "name": {"type": "string"}},
    },
    "Freed": {
        "type": "object",
        "required": ["instance_id", "freed"],
        "properties": {
            "instance_id": {"type": "string"},
            "freed": {"type": "array", "items": {"type": "string"}, "description": "the limits"},
        },
    },
    "Condition": {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"type": "string"}, "instance_id": {"type": "string"}},
    },
    "ForkPlan": {
        "type": "object",
        "required": ["instance_id", "workflow", "commit", "kept", "again", "cut_off", "refused", "stands", "undone"],
        "properties": {
            "instance_id": {"type": "string"},
            "workflow": {"type": "string"},
            "commit": {"type": "integer", "description": "the last one that is kept, wholly or in part"},
            "kept": {**_STEPS, "description": "ended before the point"},
            "again": {**_STEPS, "description": "open at the point"},
            "cut_off": {**_STEPS, "description": "begun behind the point"},
            "refused": {"type": ["string", "null"], "description": "why there can be none; null: there can be"},
            "stands": {**_STEPS, "description": "of a rewind: done behind the point, and not undone"},
            "undone": {**_STEPS, "description": "of a rewind that compensates: undone first, in this order"},
        },
    },
    "CancelRequested": {
        "type": "object",
        "required": ["status", "instance_id", "cancel"],
        "properties": {
            "status": {"enum": [str(status) for status in Status], "description": "at the time of the request"},
            "instance_id": {"type": "string"},
            "cancel": {"const": "requested"},
        },
    },
}
