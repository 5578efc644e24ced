/* Each slider moves a strip of pictures behind a window that is one picture wide. */
for (const box of document.querySelectorAll(".movers")) {
  const movers = [...box.querySelectorAll("figure")].map(mover => {
    const [strip, slider, value] = ["img", "input", "output"].map(tag => mover.querySelector(tag));
    const names = slider.dataset.values.split("|");
    strip.closest(".frames").style.width = `${strip.getAttribute("width") / names.length}px`;
    const show = () => {
      strip.style.transform = `translateX(${-100 * slider.value / names.length}%)`;
      value.textContent = names[slider.value];
      slider.setAttribute("aria-valuetext", names[slider.value]);
    };
    slider.addEventListener("input", show);
    show();
    return {slider, show, turn: Math.max(1, 2 * names.length - 2)};
  });
  const play = box.querySelector("button");
  let timer = null, time = 0;
  play.addEventListener("click", () => {
    clearInterval(timer);
    timer = timer === null ? setInterval(() => {
      time += 1;
      for (const {slider, show, turn} of movers) {
        slider.value = Math.min(time % turn, turn - time % turn);
        show();
      }
    }, 90) : null;
    play.textContent = timer === null ? "Play" : "Stop";
  });
  box.classList.add("moving");
}
