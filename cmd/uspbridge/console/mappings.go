package console

import (
	"context"
	"net/http"
)

// Mappings are the mapping files in use. Reload reads the operator's folder anew; it
// fails with ErrInvalid and the problems of the files, and then the former ones stay
// in use.
type Mappings interface {
	Reload(ctx context.Context) (MappingList, error)
}

// MappingList are the names of the mappings in use.
type MappingList struct {
	Mappings []string `json:"mappings"`
}

func (s *Server) apiReloadMappings(w http.ResponseWriter, r *http.Request) {
	list, err := s.cfg.Mappings.Reload(r.Context())
	s.answer(w, list, err)
}

// ReloadMappings makes the bridge read its mapping folder now.
func (c *Client) ReloadMappings(ctx context.Context) (list MappingList, err error) {
	return list, c.call(ctx, http.MethodPost, "/api/mappings/reload", &list)
}
