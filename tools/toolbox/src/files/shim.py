# Runs a Python tool. `order` is written before this text; all of it comes by standard input, and so
# no file has to be trusted. The directory of the tool is the current one.
import inspect
import json
import os
import sys
import traceback
import types

DESCRIPTION_CHARS_MAX = 4096

order = json.loads(order)
stdout = sys.stdout
# Lines are told while the tool runs.
stdout.reconfigure(line_buffering=True)


def say(said):
    text = json.dumps(said, ensure_ascii=False, allow_nan=False)
    stdout.flush()
    stdout.buffer.write(f"\n{order['marker']}{text}\n".encode("utf-8", "replace"))
    stdout.buffer.flush()


def tool():
    path = order["path"]
    sys.path.insert(0, os.path.dirname(path))
    sys.argv = [path]
    module = types.ModuleType("fazai_tool")
    module.__file__ = path
    # Dataclasses and the like look for the module of a class.
    sys.modules[module.__name__] = module
    exec(compile(order["source"], path, "exec", dont_inherit=True), module.__dict__)
    if not callable(getattr(module, "run", None)):
        raise TypeError("it has no function `run`; define `INFO` and `run(params)`")
    return module


def perform():
    module = tool()
    if order["task"] == "describe":
        info = getattr(module, "INFO", {})
        if not isinstance(info, dict):
            raise TypeError("INFO is no dict; write INFO = {'description': ...}")
        text = info.get("description") or ""
        return {
            "description": str(text)[:DESCRIPTION_CHARS_MAX],
            "interactive": info.get("interactive") is True,
        }
    answer = module.run(order["params"])
    if inspect.iscoroutine(answer):
        import asyncio

        answer = asyncio.run(answer)
    if not isinstance(answer, dict):
        raise TypeError("`run` gave no dict; return one, such as {'success': True}")
    # What is no JSON is the tool's mistake, and told as one.
    json.dumps(answer, allow_nan=False)
    return answer


try:
    said = {"answer": perform()}
except (Exception, SystemExit) as error:
    traceback.print_exc()
    text = f"{type(error).__name__}: {error}"
    said = {"error": text[:DESCRIPTION_CHARS_MAX]}
say(said)
sys.exit("error" in said)
