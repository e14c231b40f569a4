package diagram

import (
	"strings"

	"clink/topology"
)

// The live states of a link, beside those of the source alone.
const (
	flowing     = "flowing"
	replicating = "replicating"
	connected   = "connected"
	rejected    = "rejected"
	down        = "down"
	suspended   = "suspended"
)

// A look is how a state of a link is drawn. Colour is never the only difference:
// the dashes and the sign differ too, and the word stands in the title, the
// legend and, where there is room, beside the sign.
type look struct {
	state  string
	colour string // the variable, without --clink-
	width  int
	dash   string
	sign   string // a path around 0,0, within 40 (four pixels) each way
	en, zh string
}

// looks are in the order of the legend; of the two halves of a link, the state
// that comes first is that of the whole.
var looks = []look{
	{oneSided, "bad", 2 * px, "", "M-38 0H-4M-4 -30V30", "one-sided", "仅一侧配置"},
	{rejected, "bad", 2 * px, "10 4 2 4", "M-30 30L30 -30", "rejected", "被拒绝"},
	{down, "bad", 2 * px, "4 4", "M-28 -28L28 28M28 -28L-28 28", "down", "已断开"},
	{suspended, "warn", 2 * px, "8 4 2 4 2 4", "M-15 -30V30M15 -30V30", "suspended", "已暂停"},
	{disabled, "off", 15, "2 5", "M-26 -26H26V26H-26Z", "disabled", "已禁用"},
	{connected, "warn", 2 * px, "12 4", "M-28 0A28 28 0 1 0 28 0A28 28 0 1 0 -28 0Z", "connected only", "仅连接"},
	{flowing, "ok", 25, "", "M-32 -30L-4 0L-32 30M4 -30L32 0L4 30", "flowing", "消息流动中"},
	{replicating, "ok", 15, "", "M-35 2L-10 28L35 -26", "replicating", "路由已同步"},
	{unknown, "off", 15, "1 4", "M-20 -16Q-20 -36 0 -36Q20 -36 20 -18Q20 -4 0 6V12M0 30V34", "unknown", "未知"},
	{configured, "line", 15, "", "", "configured", "已配置"},
	{added, "ok", 25, "", "M-32 0H32M0 -32V32", "added", "新增"},
	{removed, "bad", 15, "5 5", "M-32 0H32", "removed", "移除"},
	{changed, "warn", 2 * px, "12 3", "M0 -30L32 26H-32Z", "changed", "变更"},
}

func lookOf(state string) look {
	for _, l := range looks {
		if l.state == state {
			return l
		}
	}
	return lookOf(unknown)
}

func (l look) word(lang string) string {
	if lang == "zh" {
		return l.zh
	}
	return l.en
}

// well reports whether nothing is wrong with the link.
func (l look) well() bool { return l.colour == "ok" && l.state != added || l.state == configured }

// state is that of the link as a whole: what the source says, and where that is
// all right the worse of its two ends.
func (e Edge) state(status map[[2]string]string) string {
	switch {
	case e.Change != "":
		return e.Change
	case e.State != configured || status == nil:
		return e.State
	}
	a, b := status[[2]string{e.A, e.B}], status[[2]string{e.B, e.A}]
	// An end that is run elsewhere says nothing.
	if a == "" || a == unknown {
		a = b
	}
	if b == "" || b == unknown {
		b = a
	}
	for _, l := range looks {
		if l.state == a || l.state == b {
			return l.state
		}
	}
	return unknown
}

// words are what the picture says, in one language.
type words struct {
	title, empty, hint, nothing string
	carries                     string
	starts, stops               string
	join, also, colon           string
	more, half, live            string
	kinds                       map[string]string // as the box has it
	kindsInFull                 map[string]string
	halves                      map[string]string
}

var english = words{
	title: "Linked clusters: %d sites, %d links", empty: "No sites yet", hint: "clinkc init writes a first topology",
	nothing: "nothing", carries: "topics travel this way", starts: "starts", stops: "stops",
	join: ", ", also: "; ", colon: ": ", more: "%d more", half: "half of %s", live: "at %s",
	kinds: map[string]string{topology.EMQX: "EMQX", topology.External: "external", unknown: "no such site"},
	kindsInFull: map[string]string{
		topology.Embedded: "embedded", topology.EMQX: "EMQX", topology.External: "external", unknown: "no such site",
	},
	halves: map[string]string{enabled: "enabled", disabled: "disabled", absent: "absent", undeclared: "not declared"},
}

var chinese = words{
	title: "集群连接：%d 个站点，%d 个连接", empty: "还没有站点", hint: "clinkc init 可生成第一个拓扑",
	nothing: "无", carries: "主题传送方向", starts: "开始", stops: "停止",
	join: "，", also: "；", colon: "：", more: "另有 %d 个", half: "%s 一侧", live: "在 %s",
	kinds: map[string]string{topology.EMQX: "EMQX", topology.External: "外部", unknown: "站点不存在"},
	kindsInFull: map[string]string{
		topology.Embedded: "内嵌", topology.EMQX: "EMQX", topology.External: "外部", unknown: "站点不存在",
	},
	halves: map[string]string{enabled: "已启用", disabled: "已禁用", absent: "缺失", undeclared: "未声明"},
}

func wordsOf(lang string) words {
	if lang == "zh" {
		return chinese
	}
	return english
}

// A colour has the name of its variable, and its values.
type colour struct{ name, light, dark string }

var colours = []colour{
	{"bg", "#ffffff", "#0d1117"},
	{"fg", "#1b1f24", "#e6edf3"},
	{"muted", "#57606a", "#9198a1"},
	{"box", "#f3f5f7", "#1c2229"},
	{"border", "#6e7781", "#8b949e"},
	{"focus", "#0969da", "#58a6ff"},
	{"line", "#57606a", "#9198a1"},
	{"ok", "#1a7f37", "#3fb950"},
	{"warn", "#8a5a00", "#d29922"},
	{"bad", "#c01c28", "#ff7b72"},
	{"off", "#656d76", "#8b949e"},
}

// paint is a colour as an attribute has it: the page's own where it sets one.
func paint(name string) string {
	for _, c := range colours {
		if c.name == name {
			return "var(--clink-" + name + "," + c.light + ")"
		}
	}
	return "none"
}

// sheet is the style of a file that stands alone; within a page, which has its
// own, only its last lines apply. Renderers that know no variables take the
// plain colour before them.
func sheet() string {
	var b strings.Builder
	theme := func(pick func(colour) string) string {
		var l strings.Builder
		for _, c := range colours {
			l.WriteString("--clink-" + c.name + ":" + pick(c) + ";")
		}
		return strings.TrimSuffix(l.String(), ";")
	}
	b.WriteString("\n:root.clink-graph{" + theme(func(c colour) string { return c.light }) + "}\n")
	b.WriteString("@media (prefers-color-scheme:dark){:root.clink-graph{" + theme(func(c colour) string { return c.dark }) + "}}\n")
	for _, r := range []struct{ selector, property, colour string }{
		{".ground", "fill", "bg"}, {".name", "fill", "fg"}, {".tag", "fill", "muted"},
		{".box", "fill", "box"}, {".box", "stroke", "border"}, {".plate", "fill", "bg"},
	} {
		b.WriteString(":root.clink-graph " + r.selector + "{" + twice(r.property, r.colour) + "}\n")
	}
	for _, c := range colours[6:] {
		b.WriteString(":root.clink-graph ." + c.name + "{" + twice("color", c.name) + "}\n")
	}
	b.WriteString(".clink-graph .site:focus,.clink-graph .link:focus{outline:none}\n")
	b.WriteString(".clink-graph .site:hover .box,.clink-graph .site:focus-visible .box{" + twice("stroke", "focus") + ";stroke-width:2.5}\n")
	b.WriteString(".clink-graph .link:hover,.clink-graph .link:focus-visible{" + twice("color", "focus") + "}\n")
	b.WriteString(".clink-graph .link:hover .wire,.clink-graph .link:focus-visible .wire{stroke-width:3.5;stroke-opacity:1}\n")
	return b.String()
}

func twice(property, name string) string {
	for _, c := range colours {
		if c.name == name {
			return property + ":" + c.light + ";" + property + ":" + paint(name)
		}
	}
	return ""
}
