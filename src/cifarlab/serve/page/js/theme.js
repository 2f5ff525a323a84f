// Runs before the first paint, so that a chosen theme does not flash: everything else of the page is a module.
try {
	const chosen = localStorage.getItem("cifarlab.theme");
	if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
	// Storage may be forbidden; the system's theme it is, then.
}
