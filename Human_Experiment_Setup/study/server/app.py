"""The application: routes, middleware, and a friendly answer to whatever goes wrong."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from Activation_Extraction.base.errors import InputError, first_line
from Activation_Extraction.base.text import say
from Human_Experiment_Setup.study.answering import OutOfOrderError
from Human_Experiment_Setup.study.operations import RefusedError
from Human_Experiment_Setup.study.server import admin, api, assets, participant, pictures
from Human_Experiment_Setup.study.server.context import Served, TheStudy
from Human_Experiment_Setup.study.server.headers import AtRootPath, SecurityHeaders
from Human_Experiment_Setup.study.server.limits import ANSWERS, EVERYTHING, LOGINS, Buckets, LimitRequests, Rate
from Human_Experiment_Setup.study.server.pages import STATUS, ending_page


def create_app(
    study: Served, *, everything: Rate = EVERYTHING, answers: Rate = ANSWERS, logins: Rate = LOGINS
) -> FastAPI:
    """The application that serves a study; rates are limits of requests."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.served = study
    app.state.answers_of_sessions, app.state.logins = Buckets(answers), Buckets(logins)
    app.add_middleware(LimitRequests, rate=everything)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(AtRootPath, root_path=study.root_path)
    for part in (assets, pictures, api, admin, participant):
        app.include_router(part.router)

    @app.get("/health")
    def health(study: TheStudy) -> Response:
        """Whether the server reaches its database."""
        with study.database.reading() as session:
            session.execute(text("SELECT 1"))
        return PlainTextResponse("ok")

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        return _answer(request, study, error.page, STATUS.get(error.page, 400))

    @app.exception_handler(OutOfOrderError)
    def out_of_order(request: Request, error: OutOfOrderError) -> Response:
        return JSONResponse({"error": "order", "expected": error.expected}, 409)

    @app.exception_handler(InputError)
    @app.exception_handler(RequestValidationError)
    def unfitting(request: Request, error: Exception) -> Response:
        return _answer(request, study, "error", 422)

    @app.exception_handler(OperationalError)
    @app.exception_handler(PoolTimeoutError)
    def unavailable(request: Request, error: Exception) -> Response:
        reason = (error.orig if isinstance(error, DBAPIError) else None) or error
        say(f"database: {first_line(reason)}", error=True)
        response = _answer(request, study, "error", 503)
        response.headers["Retry-After"] = "2"
        return response

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        return _answer(request, study, "not_found" if error.status_code in (404, 405) else "error", error.status_code)

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> Response:
        return _answer(request, study, "error", 500)

    return app


def _answer(request: Request, study: Served, name: str, status: int) -> Response:
    """A page that says what went wrong, or, to a script, its name."""
    if request.scope["path"].removeprefix(study.root_path).startswith("/api/"):
        return JSONResponse({"error": name}, status)
    response = ending_page(study, name)
    response.status_code = status
    return response
