// @ts-check
/**
 * A confusion matrix as a table of buttons: rows are true classes, columns predicted ones. Up to 25 classes with their counts, more
 * as small squares. Arrow keys move in it; one line below tells of the cell under pointer or focus.
 *
 * const matrix = confusionMatrix({ choose: (true, predicted) => ... });
 * matrix.update({ classes, matrix, shares: false, chosen: { true: "cat", predicted: "dog" } });
 */

import { h, replace } from "../dom.js";

const WORDS = 25; // classes up to which cells hold numbers

/** @param {{ choose: (of: string, as: string) => void }} given */
export function confusionMatrix({ choose }) {
	/** @type {{ classes: string[], matrix: number[][], shares: boolean, chosen: { true?: string, predicted?: string } | null }} */
	let now = { classes: [], matrix: [], shares: false, chosen: null };
	let focus = [0, 0];
	const table = h("table.matrix", {
		onclick: click,
		onkeydown: key,
		onpointerover: over,
		onfocusin: over,
		onpointerleave: () => tell(null),
	});
	const line = h("p.small.muted.matrix-line");
	const element = h("div.matrix-area", h("div.scroll", table), line);

	function draw() {
		const { classes, matrix, shares } = now;
		const dense = classes.length > WORDS;
		table.style.setProperty("--classes", String(classes.length));
		table.classList.toggle("dense", dense);
		table.classList.toggle("many", classes.length > 12 && !dense);
		table.classList.toggle("short", !dense && classes.every((name) => name.length <= 3));
		table.setAttribute("aria-label", "Confusion matrix: rows are true classes, columns what they were taken for");
		const head = h(
			"tr",
			h("td"),
			classes.map((name) => h("th", { scope: "col" }, h("span", { title: name }, dense ? h("span.unseen", name) : name))),
		);
		const rows = matrix.map((counts, row) => {
			const total = counts.reduce((sum, count) => sum + count, 0);
			return h(
				"tr",
				h("th", { scope: "row", title: classes[row] }, dense ? h("span.unseen", classes[row]) : classes[row]),
				counts.map((count, column) => h("td", cell(row, column, count, total))),
			);
		});
		replace(table, h("thead", head), h("tbody", rows));
		tell(null);
		/** @param {number} row @param {number} column @param {number} count @param {number} total */
		function cell(row, column, count, total) {
			const share = total ? count / total : 0;
			const right = row === column;
			// The square root lets a few mistakes be seen beside many right answers.
			const strength = right ? share : Math.sqrt(share);
			const text = dense ? "" : count === 0 ? "·" : shares ? short(share) : String(count);
			const attributes = {
				type: "button",
				class: `cell ${right ? "right" : "wrong"}${strength > 0.62 ? " deep" : ""}${count ? "" : " none"}`,
				style: { "--strength": strength.toFixed(3) },
				dataset: { row, column },
			};
			return h(
				"button",
				{
					...attributes,
					tabindex: row === focus[0] && column === focus[1] ? "0" : "-1",
					"aria-pressed": String(isChosen(row, column)),
					"aria-label": words(row, column),
				},
				text,
			);
		}
	}

	/** @param {number} row @param {number} column */
	function isChosen(row, column) {
		return now.chosen?.true === now.classes[row] && now.chosen?.predicted === now.classes[column];
	}

	/** @param {number} row @param {number} column */
	function words(row, column) {
		const { classes, matrix } = now;
		const count = matrix[row][column];
		const total = matrix[row].reduce((sum, each) => sum + each, 0);
		const share = total ? ` of ${total} (${short(count / total)} %)` : "";
		return row === column ? `${classes[row]}, right: ${count}${share}` : `${classes[row]} taken for ${classes[column]}: ${count}${share}`;
	}

	/** @param {any} target @returns {[number, number] | null} */
	function place(target) {
		const button = target.closest?.("button.cell");
		return button ? [Number(button.dataset.row), Number(button.dataset.column)] : null;
	}

	/** @param {Event} event */
	function over(event) {
		tell(place(event.target));
	}

	/** @param {[number, number] | null} at */
	function tell(at) {
		const all =
			now.classes.length > WORDS
				? "One square a pair of classes, rows true, columns predicted"
				: "Rows are true classes, columns predicted ones";
		line.textContent = at ? words(...at) : `${all}. Choose a cell to see its pictures.`;
	}

	/** @param {Event} event */
	function click(event) {
		const at = place(event.target);
		if (!at) return;
		move(at);
		choose(now.classes[at[0]], now.classes[at[1]]);
	}

	/** @param {KeyboardEvent} event */
	function key(event) {
		const at = place(event.target);
		const last = now.classes.length - 1;
		if (!at || event.altKey || event.ctrlKey || event.metaKey) return;
		const [row, column] = at;
		/** @type {Record<string, [number, number]>} */
		const moves = {
			ArrowUp: [row - 1, column],
			ArrowDown: [row + 1, column],
			ArrowLeft: [row, column - 1],
			ArrowRight: [row, column + 1],
			Home: [row, 0],
			End: [row, last],
		};
		const to = moves[event.key];
		if (!to) return;
		event.preventDefault();
		move([Math.max(0, Math.min(last, to[0])), Math.max(0, Math.min(last, to[1]))]);
		button(focus)?.focus();
	}

	/** @param {number[]} to */
	function move(to) {
		button(focus)?.setAttribute("tabindex", "-1");
		focus = to;
		button(focus)?.setAttribute("tabindex", "0");
	}

	/** @param {number[]} at */
	function button([row, column]) {
		return /** @type {HTMLElement | null} */ (table.querySelector(`[data-row="${row}"][data-column="${column}"]`));
	}

	return {
		element,
		/** @param {{ classes: string[], matrix: number[][], shares: boolean, chosen: { true?: string, predicted?: string } | null }} next */
		update(next) {
			const same = next.matrix === now.matrix && next.shares === now.shares;
			if (next.matrix !== now.matrix) focus = [0, 0];
			now = next;
			if (!same) return draw();
			for (const each of table.querySelectorAll("button.cell"))
				each.setAttribute("aria-pressed", String(isChosen(.../** @type {[number, number]} */ (place(each)))));
		},
	};
}

/** A share in percent without its sign, as short as it can be. @param {number} share */
function short(share) {
	if (share > 0 && share < 0.01) return "<1";
	if (share < 1 && share > 0.99) return ">99";
	return (100 * share).toFixed(0);
}
