// Drives the page in Chromium, for the tests and the benchmark: node drive.mjs CHROMIUM, a list of actions as JSON on
// stdin, the answers as JSON on stdout.
import { mkdtempSync, rmSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath] = process.argv.slice(2);
const actions = JSON.parse(readFileSync(0, "utf-8"));
const profile = mkdtempSync(join(tmpdir(), "pvae-chromium-"));
const quiet = ["no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
  "disable-component-update", "disable-sync"];
const browser = await chromium.launchPersistentContext(profile, {
  executablePath, headless: true, args: quiet.map((flag) => `--${flag}`), viewport: { width: 1000, height: 800 },
});
const page = browser.pages()[0] ?? (await browser.newPage());
page.setDefaultTimeout(60_000);
const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
const foreign = [];
page.on("request", (request) => {
  const { hostname, protocol } = new URL(request.url());
  if (protocol.startsWith("http") && hostname !== "127.0.0.1") foreign.push(request.url());
});

// Every picture of a panel as RGBA, at the size that it has in the model.
const readPixels = (canvases) => canvases.map((canvas) => ({
  width: canvas.width,
  height: canvas.height,
  rgba: [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data],
}));

const doing = {
  goto: ({ url }) => page.goto(url).then(() => null),
  script: ({ code }) => page.addInitScript(code).then(() => null),
  click: ({ at }) => page.click(at).then(() => null),
  fill: ({ at, value }) => page.fill(at, value).then(() => null),
  select: ({ at, value }) => page.selectOption(at, value).then(() => null),
  slide: ({ at, value }) => page.$eval(at, (slider, to) => {
    slider.value = to;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }, value),
  upload: ({ at, file }) => page.setInputFiles(at, file).then(() => null),
  press: ({ at, key }) => page.press(at, key).then(() => null),
  wait: ({ at, text }) => page.locator(at).filter({ hasText: text }).first().waitFor().then(() => null),
  text: ({ at }) => page.locator(at).allInnerTexts(),
  pixels: ({ at }) => page.$$eval(at, readPixels),
  evaluate: ({ code }) => page.evaluate(code),
  size: ({ width, height }) => page.setViewportSize({ width, height }).then(() => null),
  screenshot: ({ file, whole }) => page.screenshot({ path: file, fullPage: Boolean(whole) }).then(() => null),
  problems: () => problems,
  foreign: () => foreign,
};

const answers = [];
let failed = null;
try {
  for (const { do: name, ...options } of actions) answers.push((await doing[name](options)) ?? null);
} catch (error) {
  failed = `${error}; on the page: ${await page.innerText("body").catch(() => "")}; ${problems.join("; ")}`;
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
process.stdout.write(JSON.stringify({ answers, failed }));
