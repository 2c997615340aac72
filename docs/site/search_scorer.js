// The search of the site: a page whose title has the words that are sought comes before one whose text alone has them.
// Sphinx reads `Scorer` from here (html_search_scorer). The numbers below `score` are Sphinx' own.

/** What a page adds to the score by the folder that it is in: a reader searches for an explanation first. */
const ROMANCY_FOLDERS = [
  ["docs/guide/", 30],
  ["docs/reference/", 0],
  ["docs/decisions/", -20],
  ["docs/benchmarks", -20],
  ["docs/", 15],
  ["README", 15],
  ["CHANGELOG", -30],
];

const romancyStems = (text) => {
  const stemmer = new Stemmer();
  return (text.toLowerCase().match(/[\p{Letter}\p{Number}_]+/gu) || [])
    .filter((word) => !stopwords.has(word))
    .map((word) => stemmer.stemWord(word));
};

/** The share of a title's words that are sought, or 0 if the title lacks one of the sought words. */
const romancyShare = (sought, title) => {
  const words = new Set(romancyStems(title));
  return sought.length && sought.every((word) => words.has(word)) ? sought.length / words.size : 0;
};

var Scorer = {
  score: ([docname, title, _anchor, _description, score]) => {
    const sought = [...new Set(romancyStems(new URLSearchParams(window.location.search).get("q") || ""))];
    const [page, section] = title.split(" > ");
    const ofPage = romancyShare(sought, page.replace(/^Reference: /, ""));
    const ofSection = section ? romancyShare(sought, section) : 0;
    const [, folder] = ROMANCY_FOLDERS.find(([prefix]) => docname.startsWith(prefix)) || ["", 0];
    return score + folder + (ofPage && !section ? 60 + 60 * ofPage : 0) + (ofSection ? 20 + 40 * ofSection : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
