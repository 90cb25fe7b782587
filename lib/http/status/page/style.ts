/** The style of the status page: light and dark; on a narrow screen, rows become cards. */
export const style =
  `:root{color-scheme:light dark;--text:#1d2228;--soft:#59636e;--line:#d5dae0;--back:#fff;--card:#f5f7f9;
--error:#b3261e;--error-back:#fdeceb;--warning:#8a5300;--warning-back:#fff4e0;--well:#12693c;--well-back:#e6f5ec;
--link:#0b5cad;--gets:#59636e;--hits:#12693c;--loads:#b3541e;--hot:#0f8a96;--peers:#3461c9;--slow:#8a3fb0}
@media(prefers-color-scheme:dark){:root{--text:#e3e7eb;--soft:#a0abb6;--line:#38414a;--back:#14181c;--card:#1d2329;
--error:#ff9a92;--error-back:#3b1614;--warning:#ffc878;--warning-back:#362609;--well:#86dcab;--well-back:#10301f;
--link:#8bbcff;--gets:#a0abb6;--hits:#6fd19a;--loads:#ffa267;--hot:#5fd0d8;--peers:#8fb0ff;--slow:#d9a2f5}}
*{box-sizing:border-box}
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:90rem;padding:1rem;color:var(--text);background:var(--back)}
header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline}
h1{font-size:1.35rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:1.1rem 0 .3rem}h3{font-size:1rem;margin:1rem 0 .3rem}
p{margin:.35rem 0}a{color:var(--link)}small{color:var(--soft)}code{overflow-wrap:anywhere}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.headline,#contact{font-size:1.15rem;font-weight:600;padding:.5rem .75rem;border-radius:.4rem;margin:.6rem 0}
.headline.well,.headline.notice{color:var(--well);background:var(--well-back)}
.headline.warning{color:var(--warning);background:var(--warning-back)}
.headline.error,#contact{color:var(--error);background:var(--error-back)}
.old #verdict,.old #nodes,.old #groups,.old #plots{opacity:.5}
ul,ol{list-style:none;margin:.3rem 0;padding:0}li{padding:.1rem 0;overflow-wrap:anywhere}
li.error strong,span.error{color:var(--error)}span.error{font-weight:600}
li.warning strong,li.warn strong{color:var(--warning)}time{font-variant-numeric:tabular-nums}
#events ol{max-height:22rem;overflow-y:auto;border:1px solid var(--line);border-radius:.4rem;padding:.4rem .6rem;font-size:.9rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--soft);font-weight:500;font-size:.85rem;white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.scroll{overflow-x:auto;background:linear-gradient(90deg,var(--back) 30%,#0000) 0/3rem 100%,
linear-gradient(270deg,var(--back) 30%,#0000) 100%/3rem 100%,linear-gradient(90deg,#7775,#0000) 0/.8rem 100%,
linear-gradient(270deg,#7775,#0000) 100%/.8rem 100%;background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}
meter{width:6rem;height:.8rem}
svg{display:inline-block;max-width:100%}polyline{fill:none;stroke-width:1.5;stroke-linecap:round;stroke:var(--gets)}
polyline.cacheHits{stroke:var(--hits)}polyline.originLoads{stroke:var(--loads)}
.plots,.plots>div{display:grid;gap:.6rem 1.2rem}.plots{grid-template-columns:repeat(auto-fill,minmax(min(34rem,100%),1fr));margin:.6rem 0}
.plots>div{grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));align-items:end}
figure{margin:0}figcaption{font-size:.85rem;display:flex;flex-wrap:wrap;gap:0 .7rem;font-variant-numeric:tabular-nums}
svg.plot{display:block;width:100%;height:auto}svg.plot line{stroke:var(--line);stroke-width:1}svg.plot text{fill:var(--soft);font-size:10px}
polyline.hotHits{stroke:var(--hot)}polyline.peerLoads{stroke:var(--peers)}polyline.p50{stroke:var(--hits)}polyline.p99{stroke:var(--slow)}
figcaption .gets{color:var(--gets)}figcaption .cacheHits,figcaption .p50{color:var(--hits)}figcaption .hotHits{color:var(--hot)}
figcaption .peerLoads{color:var(--peers)}figcaption .originLoads{color:var(--loads)}figcaption .p99{color:var(--slow)}
form .scroll{flex-basis:100%;background:none}form{display:flex;flex-wrap:wrap;gap:.5rem .8rem;align-items:end;background:var(--card);padding:.7rem;border-radius:.4rem}
label{display:grid;gap:.15rem;font-size:.9rem}label:has([type=checkbox]){display:block}
input,select,textarea,button{font:inherit;color:inherit;background:var(--back);border:1px solid var(--soft);border-radius:.3rem;
padding:.3rem .5rem;max-width:100%}button{cursor:pointer}
output{flex-basis:100%;white-space:pre-wrap;overflow-wrap:anywhere;max-height:16rem;overflow-y:auto;font-family:ui-monospace,monospace;font-size:.85rem}
output:empty{display:none}summary{cursor:pointer;margin-top:1rem}
@media(max-width:48rem){thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,td{display:block}tr{background:var(--card);border-radius:.4rem;padding:.4rem .7rem;margin:.4rem 0}
td,td.number{display:flex;justify-content:space-between;gap:1rem;text-align:right;white-space:normal;padding:.15rem 0;border:0}
td::before{content:attr(data-head);color:var(--soft);text-align:left;white-space:nowrap}td:empty{display:none}
label,input:not([type=checkbox]),select,textarea{width:100%}}`;
