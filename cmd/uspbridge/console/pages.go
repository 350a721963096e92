package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// pages are the templates of the web pages.
type pages struct {
	byName map[string]*template.Template
	style  []byte
}

// pageAudit is how many changes a device's page shows.
const pageAudit = 20

func newPages(now func() time.Time) (*pages, error) {
	style, err := pageFiles.ReadFile("pages/style.css")
	if err != nil {
		return nil, err
	}
	p := &pages{byName: map[string]*template.Template{}, style: style}
	funcs := template.FuncMap{
		"ago":     func(t time.Time) string { return ago(now().Sub(t), t) },
		"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"segment": url.PathEscape,
		"percent": func(f float64) string { return fmt.Sprintf("%.1f %%", f) },
		"join":    func(s []string) string { return strings.Join(s, ", ") },
	}
	for _, name := range []string{"list", "device", "explain", "login", "failure"} {
		t, err := template.New("frame.html").Funcs(funcs).ParseFS(pageFiles, "pages/frame.html", "pages/"+name+".html")
		if err != nil {
			return nil, err
		}
		p.byName[name] = t
	}
	return p, nil
}

// ago says how long ago t was.
func ago(d time.Duration, t time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// view is what every page gets: Token tells whether there is a login to end.
type view struct {
	Title string
	Token bool
	Data  any
}

func (s *Server) page(w http.ResponseWriter, status int, name, title string, data any) {
	var b bytes.Buffer
	if err := s.pages.byName[name].Execute(&b, view{title, s.cfg.Token != "", data}); err != nil {
		s.cfg.Log.Error("console page could not be made", "page", name, "error", err)
		http.Error(w, "this page could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if _, err := b.WriteTo(w); err != nil {
		s.cfg.Log.Debug("console client went away", "error", err)
	}
}

func (s *Server) failPage(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status == http.StatusInternalServerError {
		s.cfg.Log.Error("console request failed", "error", err)
	}
	s.page(w, status, "failure", http.StatusText(status), err.Error())
}

func (s *Server) style(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "max-age=3600")
	if _, err := w.Write(s.pages.style); err != nil {
		s.cfg.Log.Debug("console client went away", "error", err)
	}
}

type listData struct {
	Filter  string
	Devices []DeviceSummary
	More    template.URL // the next page's query, encoded; "" behind the last one
}

func (s *Server) listPage(w http.ResponseWriter, r *http.Request) {
	q, err := listQuery(r)
	if err != nil {
		s.failPage(w, err)
		return
	}
	devices, next, err := s.cfg.Fleet.List(r.Context(), q)
	if err != nil {
		s.failPage(w, err)
		return
	}
	data := listData{Filter: q.Filter, Devices: devices}
	if next != "" {
		data.More = template.URL(url.Values{"filter": {q.Filter}, "after": {next}}.Encode())
	}
	s.page(w, http.StatusOK, "list", "Devices", data)
}

type deviceData struct {
	Device      DeviceDetail
	Coverage    *Report // nil before discovery
	Audit       []AuditEntry
	Refreshed   bool
	Explanation *Explanation
	Path        string
	Error       string // why there is no explanation
}

func (s *Server) devicePage(w http.ResponseWriter, r *http.Request) {
	data, err := s.deviceData(r)
	if err != nil {
		s.failPage(w, err)
		return
	}
	s.page(w, http.StatusOK, "device", data.Device.Endpoint, data)
}

func (s *Server) deviceData(r *http.Request) (*deviceData, error) {
	endpoint := r.PathValue("endpoint")
	data := &deviceData{Refreshed: r.FormValue("done") == "refresh"}
	var err error
	if data.Device, err = s.cfg.Fleet.Show(r.Context(), endpoint); err != nil {
		return nil, err
	}
	if data.Audit, err = s.cfg.Fleet.Audit(r.Context(), endpoint, pageAudit); err != nil {
		return nil, err
	}
	if data.Device.Discovered {
		report, err := s.cfg.Fleet.Coverage(r.Context(), endpoint)
		if err != nil {
			return nil, err
		}
		data.Coverage = &report
	}
	return data, nil
}

func (s *Server) explainPage(w http.ResponseWriter, r *http.Request) {
	endpoint := r.PathValue("endpoint")
	data := &deviceData{Path: r.FormValue("path")}
	var err error
	if data.Device, err = s.cfg.Fleet.Show(r.Context(), endpoint); err != nil {
		s.failPage(w, err)
		return
	}
	status := http.StatusOK
	if data.Path != "" {
		e, err := s.explain(r, endpoint)
		if err != nil {
			data.Error, status = err.Error(), statusOf(err)
		} else {
			data.Explanation = &e
		}
	}
	s.page(w, status, "explain", "Where a path lives", data)
}

func (s *Server) explain(r *http.Request, endpoint string) (Explanation, error) {
	path, err := pathQuery(r)
	if err != nil {
		return Explanation{}, err
	}
	return s.cfg.Fleet.Explain(r.Context(), endpoint, path)
}

func (s *Server) refreshForm(w http.ResponseWriter, r *http.Request) {
	endpoint := r.PathValue("endpoint")
	if err := s.cfg.Fleet.Refresh(r.Context(), endpoint); err != nil {
		s.failPage(w, err)
		return
	}
	http.Redirect(w, r, "/devices/"+url.PathEscape(endpoint)+"?done=refresh", http.StatusSeeOther)
}

func (s *Server) forgetForm(w http.ResponseWriter, r *http.Request) {
	if err := s.cfg.Fleet.Forget(r.Context(), r.PathValue("endpoint")); err != nil {
		s.failPage(w, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

type loginData struct {
	To    string
	Wrong bool
}

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	s.page(w, http.StatusOK, "login", "Log in", loginData{To: localTarget(r.FormValue("to"))})
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	to := localTarget(r.FormValue("to"))
	if s.cfg.Token == "" || !s.access.right(r.PostFormValue("token")) {
		s.page(w, http.StatusUnauthorized, "login", "Log in", loginData{To: to, Wrong: true})
		return
	}
	http.SetCookie(w, s.access.newCookie(r.TLS != nil))
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
