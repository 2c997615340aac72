// Sends the events on standard input, one request each or all as a batch, and prints the answers as JSON.
// Run in the folder that holds node_modules: node send.cjs URL MODE
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");
const { CloudEvent, Mode, emitterFor } = createRequire(`${process.cwd()}/`)("cloudevents");

const [url, mode] = process.argv.slice(2);

async function post(message) {
  const answer = await fetch(url, { method: "POST", headers: message.headers, body: message.body });
  return { status: answer.status, body: await answer.json() };
}

async function main() {
  const events = JSON.parse(readFileSync(0, "utf8")).map((each) => new CloudEvent(each));
  const answers = [];
  if (mode === Mode.BATCH) {
    // The SDK reads batches and does not write them.
    const headers = { "content-type": "application/cloudevents-batch+json" };
    answers.push(await post({ headers, body: JSON.stringify(events) }));
  } else {
    const emit = emitterFor(post, { mode });
    for (const event of events) {
      answers.push(await emit(event));
    }
  }
  process.stdout.write(JSON.stringify(answers));
}

main();
