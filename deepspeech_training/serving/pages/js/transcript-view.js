// The transcript on the page: paragraphs with times, other readings, the sentence in progress, and what was lost.

import { byId, element } from "./dom.js";
import { marked } from "./reading.js";
import { clock, interval } from "./times.js";
import { Transcript } from "./transcript.js";
import { wordElement, wordRow } from "./words.js";

const KEPT_ANNOUNCEMENTS = 20;

/** Event `word` {index}: a word was pressed; the index counts over the whole transcript. */
export class TranscriptView extends EventTarget {
  #transcript;
  #paragraphs = byId("paragraphs");
  #shown = 0; // utterances on the page
  #shownLost = 0;
  #words = 0;
  #current = null;

  constructor(transcript) {
    super();
    this.#transcript = transcript;
    transcript.addEventListener("change", ({ detail }) => this.#update(detail.what));
    this.#paragraphs.addEventListener("click", ({ target }) => this.#press(target));
    this.#paragraphs.addEventListener("keydown", (event) => this.#key(event));
    byId("word-list").addEventListener("toggle", () => this.#fillTable());
  }

  /** Shows which word is played; null: none. */
  highlight(index) {
    if (this.#current && Number(this.#current.dataset.index) === index) return;
    this.#current?.classList.remove("now");
    this.#current = index === null ? null : this.#word(index);
    this.#current?.classList.add("now");
  }

  /** The words `when` the transcript is empty. */
  set empty(text) {
    byId("empty").textContent = text;
  }

  #update(what) {
    if (what === "all") this.#clear();
    const { utterances, lost } = this.#transcript;
    const follows = this.#seesEnd();
    while (this.#shown < utterances.length) this.#addUtterance(utterances[this.#shown++], what !== "all");
    while (this.#shownLost < lost.length) this.#addLost(lost[this.#shownLost++]);
    this.#showPartial();
    byId("empty").hidden = !this.#transcript.isEmpty || lost.length > 0;
    byId("legend").hidden = byId("word-list").hidden = this.#words === 0;
    if (byId("word-list").open) this.#fillTable();
    if (follows && what !== "all") this.#lastLine()?.scrollIntoView({ block: "nearest" });
  }

  #clear() {
    this.#paragraphs.replaceChildren();
    byId("announcer").replaceChildren();
    this.#shown = this.#shownLost = this.#words = 0;
    this.#current = null;
  }

  #addUtterance(utterance, announce) {
    const said = element("div", { className: "said", dir: "auto" });
    if (utterance.words.length) {
      utterance.words.forEach((word, i) => said.append(i ? " " : "", wordElement(word, this.#words++)));
    } else {
      said.append(utterance.text);
    }
    const start = Transcript.startOf(utterance);
    const paragraph = element(
      "div",
      { className: "paragraph" },
      element("time", { className: "at", dateTime: `PT${start.toFixed(1)}S` }, clock(start)),
      said,
    );
    const others = otherReadings(utterance);
    if (others) paragraph.append(others);
    this.#paragraphs.append(paragraph);
    const first = this.#paragraphs.querySelector(".word");
    if (first && !this.#paragraphs.querySelector('.word[tabindex="0"]')) first.tabIndex = 0;
    if (announce) this.#announce(utterance.text);
  }

  #addLost({ start, end }) {
    const text = `Lost: what was said ${interval(start, end)} did not reach the server.`;
    this.#paragraphs.append(element("p", { className: "lost" }, text));
    this.#announce(text);
  }

  /** For screen readers, who read what is added. */
  #announce(text) {
    const announcer = byId("announcer");
    announcer.append(element("p", {}, text));
    if (announcer.children.length > KEPT_ANNOUNCEMENTS) announcer.firstChild.remove();
  }

  #showPartial() {
    const { partial } = this.#transcript;
    const line = byId("partial");
    line.hidden = !partial;
    if (!partial) return;
    const stable = partial.stable ?? "";
    line.querySelector(".at").textContent = clock(partial.start);
    byId("stable").textContent = stable;
    byId("rest").textContent = partial.text.slice(stable.length);
  }

  #fillTable() {
    byId("word-rows").replaceChildren(...this.#transcript.words.map(wordRow));
  }

  #press(target) {
    const word = target.closest(".word");
    if (!word || String(getSelection())) return; // somebody marks text to copy it
    this.#focus(word);
    this.#emit(word);
  }

  #key(event) {
    const word = event.target.closest(".word");
    if (!word) return;
    const index = Number(word.dataset.index);
    const to = {
      ArrowLeft: index - 1,
      ArrowUp: index - 1,
      ArrowRight: index + 1,
      ArrowDown: index + 1,
      Home: 0,
      End: this.#words - 1,
    }[event.key];
    if (to !== undefined) {
      const other = this.#word(to);
      if (other) this.#focus(other);
    } else if (event.key === "Enter" || event.key === " ") {
      this.#emit(word);
    } else {
      return;
    }
    event.preventDefault();
  }

  #focus(word) {
    const before = this.#paragraphs.querySelector('.word[tabindex="0"]');
    if (before) before.tabIndex = -1;
    word.tabIndex = 0;
    word.focus();
  }

  #word(index) {
    return this.#paragraphs.querySelector(`.word[data-index="${index}"]`);
  }

  #emit(word) {
    this.dispatchEvent(new CustomEvent("word", { detail: { index: Number(word.dataset.index) } }));
  }

  #lastLine() {
    return byId("partial").hidden ? this.#paragraphs.lastElementChild : byId("partial");
  }

  /** Whoever looks at the last line wants to see the next one; whoever has scrolled away does not. */
  #seesEnd() {
    const { top, bottom } = this.#lastLine()?.getBoundingClientRect() ?? { top: innerHeight, bottom: 0 };
    return top < innerHeight && bottom > 0;
  }
}

/** The readings after the best one, with what differs; null where there is none. */
function otherReadings({ text, alternatives }) {
  const others = (alternatives ?? []).filter((other) => other.text !== text);
  if (!others.length) return null;
  const list = element(
    "ol",
    {},
    ...others.map((other) => {
      const score =
        other.confidence === undefined || other.confidence === null
          ? null
          : element(
              "span",
              { className: "score", title: "log probability of this reading" },
              other.confidence.toFixed(1),
            );
      return element(
        "li",
        {},
        element("span", { dir: "auto" }, ...(other.text ? marked(text, other.text) : ["(nothing)"])),
        score,
      );
    }),
  );
  return element(
    "details",
    { className: "others" },
    element("summary", {}, others.length === 1 ? "1 other reading" : `${others.length} other readings`),
    list,
  );
}
