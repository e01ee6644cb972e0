"use strict";
(() => {
  // The controls: gamma and alpha choose among what was computed beforehand.
  const source = document.getElementById("explore-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const controls = document.getElementById("explore-controls");
  const gamma = document.getElementById("explore-gamma");
  const alpha = document.getElementById("explore-alpha");
  const shown = document.getElementById("explore-shown");
  const words = document.getElementById("explore-words");
  const root = document.getElementById("explore");
  const percent = (x) => `${(100 * x).toFixed(x < 0.0995 ? 1 : 0)} %`;
  const draw = () => {
    const [a, g] = [alpha.selectedIndex, Number(gamma.value)];
    const name = `γ ${data.gammas[g]}`;
    shown.value = name;
    gamma.setAttribute("aria-valuetext", name);
    for (const moment of ["start", "fitted"]) {
      let x = Number(root.dataset.left);
      data[moment][a][g].forEach((share, kind) => {
        const bar = root.querySelector(`[data-bar="${moment}-${kind}"]`);
        const width = share * Number(root.dataset.width);
        bar.setAttribute("x", x);
        bar.setAttribute("width", width);
        bar.firstElementChild.textContent = `${data.kinds[kind]}: ${percent(share)}`;
        x += width;
      });
    }
    const [size, low, top] = ["size", "low", "top"].map((key) => Number(root.dataset[key]));
    const at = (v) => size * Math.sqrt(Math.min(v, top) / top);
    const points = data.said[a][g].map((p, k) => [low + at(p), size - at(data.observed[k]) + 10]);
    root.querySelector("[data-line]").setAttribute("points", points.map((p) => p.join(",")).join(" "));
    root.querySelectorAll("[data-point]").forEach((dot, k) => {
      dot.setAttribute("cx", points[k][0]);
      dot.setAttribute("cy", points[k][1]);
      dot.firstElementChild.textContent = `sigmoid says ${percent(data.said[a][g][k])}, observed ${percent(data.observed[k])}`;
    });
    const easy = data.kinds[0];
    words.textContent = `With ${name} and α ${data.alphas[a]}, the ${easy} get ${percent(data.start[a][g][0])} of the gradient at the start and ${percent(data.fitted[a][g][0])} when fitted; under cross-entropy ${percent(data.start[0][0][0])}.`;
  };
  controls.hidden = false;
  gamma.addEventListener("input", draw);
  alpha.addEventListener("change", draw);
  draw();
})();
