"""Sends tokens to a Flask application and prints its answers, for test/flask.test.ts.

Standard input: {"app": file, "settings": {...}, "requests": [[path, token], ...]}. Without "app" it is the smallest
application that flask-jwt-extended's own manual shows, with these settings and nothing else.
Standard output: [[status, body], ...].
"""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location

from flask import Flask
from flask_jwt_extended import JWTManager, get_jwt_identity, jwt_required


def smallest(settings):
    app = Flask(__name__)
    app.config.update(settings)
    JWTManager(app)

    @app.get("/hello")
    @jwt_required()
    def hello():
        return {"sub": get_jwt_identity()}

    @app.get("/careful")
    @jwt_required(fresh=True)
    def careful():
        return {"sub": get_jwt_identity()}

    return app


def loaded(file):
    spec = spec_from_file_location("service", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


question = json.load(sys.stdin)
app = loaded(question["app"]) if "app" in question else smallest(question["settings"])
client = app.test_client()
answers = []
for path, token in question["requests"]:
    answer = client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answers.append([answer.status_code, answer.get_json(silent=True)])
print(json.dumps(answers))
