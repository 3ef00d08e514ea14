"""The HTTP interface; each worker process has a pool of connections of its own."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from http import HTTPStatus
from typing import Annotated, TypeAlias

from asyncpg import UniqueViolationError, create_pool
from fastapi import FastAPI, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from benchmarks.peers import store

# For each worker. More of them wait for each other's locks, fewer leave the server idle (32 and 128 clients).
CONNECTIONS = 16

Identifier: TypeAlias = Annotated[str, Field(min_length=1, max_length=255)]
Quantity: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000_000)]


class OrderLine(BaseModel):
    """An order line to allocate."""

    id_commande: Identifier
    sku: Identifier
    quantité: Quantity


class Lot(BaseModel):
    """A lot to receive."""

    réf: Identifier
    sku: Identifier
    quantité: Quantity
    eta: date | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect to the database PEER_DATABASE_URL, which has its tables."""
    url = os.environ["PEER_DATABASE_URL"]
    async with create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.post("/allocate")
async def allocate(line: OrderLine) -> JSONResponse:
    """Tie an order line to a lot."""
    try:
        réf_lot, new = await store.allocate(app.state.pool, line.id_commande, line.sku, line.quantité)
    except store.UnknownSku as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"unknown SKU: {line.sku}") from error
    except (store.LineChanged, store.OutOfStock) as error:
        raise HTTPException(HTTPStatus.CONFLICT, type(error).__doc__) from error
    return JSONResponse({"réf_lot": réf_lot}, HTTPStatus.CREATED if new else HTTPStatus.OK)


@app.get("/allocations/{id_commande}")
async def allocations(id_commande: str) -> JSONResponse:
    """The lots that serve an order, line by line."""
    lines = await store.lines_of(app.state.pool, id_commande)
    if not lines:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no line is allocated for the order {id_commande}")
    return JSONResponse([dict(line) for line in lines])


@app.post("/lots")
async def receive_lot(lot: Lot) -> JSONResponse:
    """Receive a lot."""
    try:
        await store.receive(app.state.pool, lot.réf, lot.sku, lot.quantité, lot.eta)
    except UniqueViolationError as error:
        raise HTTPException(HTTPStatus.CONFLICT, f"the lot {lot.réf} of this SKU exists") from error
    return JSONResponse({"réf": lot.réf}, HTTPStatus.CREATED)


@app.get("/health")
async def health() -> JSONResponse:
    """That it serves."""
    return JSONResponse({"status": "ok"})
