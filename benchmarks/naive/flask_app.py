"""The HTTP interface, and the wiring behind it."""

import os

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import sessionmaker

from benchmarks.naive import handlers, views
from benchmarks.naive.commands import Allouer, CréerLot
from benchmarks.naive.events import Alloué, RuptureDeStock
from benchmarks.naive.messagebus import CommandHandlers, EventHandlers, MessageBus
from benchmarks.naive.orm import metadata, start_mappers
from benchmarks.naive.unit_of_work import SqlAlchemyUnitOfWork

COMMAND_HANDLERS: CommandHandlers = {CréerLot: handlers.ajouter_lot, Allouer: handlers.allouer}
EVENT_HANDLERS: EventHandlers = {
    Alloué: [handlers.ajouter_allocation_vue],
    RuptureDeStock: [handlers.signaler_rupture_stock],
}


def from_environment() -> Flask:
    """The app on the database NAIVE_DATABASE_URL, which has its tables."""
    return create_app(create_engine(os.environ["NAIVE_DATABASE_URL"]))


def create_tables(url: str) -> None:
    """Make the tables in an empty database."""
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()


def create_app(engine: Engine) -> Flask:
    """The app on this engine."""
    start_mappers()
    new_session = sessionmaker(bind=engine)
    app = Flask(__name__)

    def bus() -> MessageBus:
        return MessageBus(SqlAlchemyUnitOfWork(new_session), COMMAND_HANDLERS, EVENT_HANDLERS)

    @app.post("/lots")
    def add_lot() -> ResponseReturnValue:
        body = request.get_json()
        bus().handle(CréerLot(body["réf"], body["sku"], body["quantité"]))
        return "OK", 201

    @app.post("/allocate")
    def allocate() -> ResponseReturnValue:
        body = request.get_json()
        try:
            bus().handle(Allouer(body["id_commande"], body["sku"], body["quantité"]))
        except handlers.SkuInconnu as error:
            return jsonify({"message": f"SKU inconnu : {error}"}), 400
        return "OK", 202

    @app.get("/allocations/<id_commande>")
    def allocations(id_commande: str) -> ResponseReturnValue:
        result = views.allocations(id_commande, bus().uow)
        return jsonify(result) if result else ("not found", 404)

    @app.get("/health")
    def health() -> Response:
        return jsonify({"status": "ok"})

    return app
