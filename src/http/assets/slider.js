// The slider over a build's events: the links beside it do the same without a script.
const slider = document.getElementById("slider");
const positions = slider.dataset.positions.split(" ");
slider.hidden = false;
slider.addEventListener("change", () => {
  const address = new URL(location.href);
  address.searchParams.set("at", positions[slider.value]);
  location.replace(address);
});
for (const time of document.querySelectorAll("time[datetime]")) {
  time.title ||= time.textContent;
  time.textContent = new Date(time.dateTime).toLocaleString();
}
