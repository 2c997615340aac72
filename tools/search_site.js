// Prints what the search of a built site answers, as JSON: the pages for each word, the best first.
//
//   node tools/search_site.js FOLDER WORD…
//
// It loads the site's own files, in the order in which search.html does; nothing of the page is drawn.
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { createContext, runInContext } = require("node:vm");

const [folder, ...words] = process.argv.slice(2);
const nothing = { childNodes: [], addEventListener: () => {} };
const page = createContext({
  URLSearchParams,
  localStorage: { setItem: () => {} },
  document: { ...nothing, readyState: "loading", getElementById: () => null },
  SPHINX_HIGHLIGHT_ENABLED: false,
  _ready: () => {},
});
page.window = page;
page.location = { search: "" };
for (const file of ["_static/language_data.js", "_static/searchtools.js", "searchindex.js"])
  runInContext(readFileSync(join(folder, file), "utf8"), page, { filename: file });

const answers = {};
for (const word of words) {
  page.location.search = `?${new URLSearchParams({ q: word })}`;
  page.word = word;
  const results = runInContext("Search._performSearch(...Search._parseQuery(word))", page);
  answers[word] = [...new Set(results.reverse().map(([name]) => name))].slice(0, 10);
}
console.log(JSON.stringify(answers));
