// Runs a JavaScript tool. `order` is written before this text; all of it comes by standard input,
// and so no file has to be trusted. The directory of the tool is the current one.
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';

const { marker, task, path, source, params } = JSON.parse(order);
const DESCRIPTION_BYTES_MAX = 16384;

// Kept from the tool, which may replace them.
const write = process.stdout.write.bind(process.stdout);
const complain = console.error.bind(console);
const exit = process.exit.bind(process);
const toJson = JSON.stringify;

// A tool that has answered is done, whatever it has left open.
function say(said, code) {
  write(`\n${marker}${toJson(said)}\n`, () => exit(code));
}

// Relative names and packages are looked for from the current directory, as from the tool's file.
const load = (name, _, attributes) => import(name, { with: attributes });

function commonJs(text) {
  const names = ['exports', 'require', 'module', '__filename', '__dirname'];
  return vm.compileFunction(text, names, { filename: path, importModuleDynamically: load });
}

function runCommonJs(compiled) {
  const module = { exports: {}, id: path, filename: path, loaded: false, children: [] };
  const require = createRequire(path);
  compiled.call(module.exports, module.exports, require, module, path, dirname(path));
  return module.exports;
}

function esModule(text) {
  return new vm.SourceTextModule(text, {
    identifier: path,
    importModuleDynamically: load,
    initializeImportMeta(meta) {
      meta.url = pathToFileURL(path).href;
      meta.filename = path;
      meta.dirname = dirname(path);
    },
  });
}

async function runEsModule(compiled) {
  await compiled.link(async (name, { context }, { attributes, assert }) => {
    const found = await load(name, null, attributes ?? assert);
    const names = Object.keys(found);
    return new vm.SyntheticModule(names, function () {
      for (const name of names) this.setExport(name, found[name]);
    }, { context });
  });
  await compiled.evaluate();
  return compiled.namespace;
}

// What is no CommonJS is an ES module, whatever package.json says.
async function exported() {
  const text = source.replace(/^\uFEFF/, '').replace(/^#!.*/, '');
  if (path.endsWith('.mjs')) return runEsModule(esModule(text));
  let compiled;
  try {
    compiled = commonJs(text);
  } catch (noCommonJs) {
    if (path.endsWith('.cjs')) throw noCommonJs;
    let module;
    try {
      module = esModule(text);
    } catch (noModule) {
      throw /\b(import|export|await)\b/.test(noCommonJs.message) ? noModule : noCommonJs;
    }
    return runEsModule(module);
  }
  return runCommonJs(compiled);
}

async function tool() {
  const found = await exported();
  const one = [found, found?.default].find((one) => typeof one?.run === 'function');
  if (!one) throw new TypeError('it exports no function `run`; export `info` and `run`');
  return one;
}

// A tool's own texts may hold anything; these are cut, and are Unicode.
const shortText = (value) => Buffer.from(String(value ?? '')).subarray(0, DESCRIPTION_BYTES_MAX).toString();

async function perform() {
  const found = await tool();
  if (task === 'describe') {
    const { description, interactive } = found.info ?? {};
    return { description: shortText(description), interactive: interactive === true };
  }
  const answer = await found.run(params);
  if (answer === null || typeof answer !== 'object' || Array.isArray(answer)) {
    throw new TypeError('`run` gave no object; return one, such as { success: true }');
  }
  return answer;
}

// A syntax error begins with the place; others have it in their stack.
function message(error) {
  const place = typeof error?.stack === 'string' && error instanceof SyntaxError
    ? /^.*:(\d+)\n/.exec(error.stack) : null;
  const text = error instanceof Error ? `${error.message || error.name}` : String(error);
  return shortText(place ? `${error.name}: ${text} (line ${place[1]})` : text);
}

try {
  say({ answer: await perform() }, 0);
} catch (error) {
  complain(error);
  say({ error: message(error) }, 1);
}
