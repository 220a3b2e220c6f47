// The slider over a build's events: the links beside it do the same without a script.
import "/assets/times.js";

const slider = document.getElementById("slider");
const positions = slider.dataset.positions.split(" ");
const said = [...document.querySelectorAll(".events li")].map((line) => line.textContent);
slider.hidden = false;
const tell = () => slider.setAttribute("aria-valuetext", said[slider.value] ?? "");
tell();
slider.addEventListener("input", tell);
slider.addEventListener("change", () => {
  const address = new URL(location.href);
  address.searchParams.set("at", positions[slider.value]);
  // Whoever moves it by the keyboard goes on with it.
  address.hash = "slider";
  location.replace(address);
});
if (location.hash === "#slider") slider.focus();
