"""The words of evidence.html in English and Spanish. Findings and facts stay in the language they were recorded in."""

from collections.abc import Mapping

LANGUAGES = ("en", "es")

TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("Evidence", "Evidencia"),
    "verdict": ("Verdict", "Veredicto"),
    "PASS": ("PROVEN", "DEMOSTRADO"),
    "FAIL": ("FAILED", "FALLIDO"),
    "NOT_PROVEN": ("NOT PROVEN", "NO DEMOSTRADO"),
    "ERROR": ("HARNESS BROKEN", "ARNÉS AVERIADO"),
    "WAIVED": ("WAIVED", "EXCEPTUADO"),
    "self_test": (
        "Self-test: this run proves the harness, satisfies no control and says nothing about production.",
        "Autoprueba: esta ejecución demuestra el arnés, no satisface ningún control y no dice nada sobre producción.",
    ),
    "production": ("Production: this run speaks about", "Producción: esta ejecución habla de"),
    "unsettled": (
        "The run did not come to its end, so as a whole it proves nothing.",
        "La ejecución no llegó a su fin, así que en conjunto no demuestra nada.",
    ),
    "run": ("Run", "Ejecución"),
    "started": ("Started", "Inicio"),
    "finished": ("Finished", "Término"),
    "valid_until": ("Valid until", "Válida hasta"),
    "set": ("Backup set", "Conjunto de respaldo"),
    "isolation": ("Sandbox", "Entorno aislado"),
    "executed_by": ("Executed by", "Ejecutado por"),
    "approved_by": ("Approved by", "Aprobado por"),
    "nobody": ("not stated", "no indicado"),
    "commit": ("Harness", "Arnés"),
    "modified": ("modified", "modificado"),
    "none": ("none", "ninguno"),
    "checks": ("Checks", "Comprobaciones"),
    "check": ("Check", "Comprobación"),
    "claim": ("Claim", "Afirmación"),
    "waived_until": ("waived until", "exceptuado hasta"),
    "by": ("by", "por"),
    "recovery": ("Recovery", "Recuperación"),
    "measured": ("Measured", "Medido"),
    "objective": ("Objective", "Objetivo"),
    "rto": ("Recovery time (RTO)", "Tiempo de recuperación (RTO)"),
    "rpo": ("Recovery point (RPO)", "Punto de recuperación (RPO)"),
    "of_it_verification": ("of it verification", "de ello, verificación"),
    "not_measured": ("not measured", "no medido"),
    "restored": ("Restored", "Restaurado"),
    "phase": ("Phase", "Fase"),
    "time": ("Time", "Tiempo"),
    "excluded": ("excluded", "excluida"),
    "trend": ("Trend over the runs of this target", "Tendencia en las ejecuciones de este objetivo"),
    "findings": ("Findings", "Hallazgos"),
    "no_findings": ("No finding: every check passed.", "Sin hallazgos: toda comprobación pasó."),
    "what_to_do": ("What to do", "Qué hacer"),
    "language_note": (
        "Findings and facts are shown as they were recorded.",
        "Los hallazgos y los hechos se muestran como fueron registrados, en inglés.",
    ),
    "coverage": ("Evidence for controls", "Evidencia para controles"),
    "coverage_note": (
        "A check is evidence for a part of a control. Whether a control is met is for the auditor to say.",
        "Una comprobación es evidencia de una parte de un control. Si el control se cumple lo dice la auditoría.",
    ),
    "no_coverage": ("A self-test satisfies no control.", "Una autoprueba no satisface ningún control."),
    "control": ("Control", "Control"),
    "state": ("State", "Estado"),
    "required": ("Required", "Requeridas"),
    "executed": ("Executed", "Ejecutadas"),
    "passed": ("Passed", "Pasadas"),
    "failed": ("Failed", "Fallidas"),
    "not_proven": ("Not proven", "No demostradas"),
    "waived": ("Waived", "Exceptuadas"),
    "harness_error": ("Harness error", "Error del arnés"),
    "elsewhere": ("not in this run", "fuera de esta ejecución"),
    "proven_state": ("proven", "demostrado"),
    "waived_state": ("waived", "exceptuado"),
    "not proven_state": ("not proven", "no demostrado"),
    "harness error_state": ("harness error", "error del arnés"),
    "failed_state": ("failed", "fallido"),
    "why": ("Why it is evidence", "Por qué es evidencia"),
    "limits": ("What it does not show", "Qué no muestra"),
    "reasons": ("Reasons and limits", "Razones y límites"),
    "exclusions": ("Not required, excluded", "No requerido, excluido"),
    "faults": ("Every check is seen to fail", "Cada comprobación se ve fallar"),
    "faults_text": ("faults detected", "fallas detectadas"),
    "of": ("of", "de"),
    "no_faults": (
        "The negative controls were not run into this directory (make prove).",
        "Los controles negativos no se ejecutaron en este directorio (make prove).",
    ),
    "artifacts": ("Backups that were inspected", "Respaldos inspeccionados"),
    "facts": ("Facts", "Hechos"),
    "seconds": ("seconds", "segundos"),
}

TITLES_ES: Mapping[str, str] = {
    "DR-01": "Existen respaldos de todo lo declarado, son recientes y no falta ninguno de la programación",
    "DR-02": "Cada artefacto está completo e inalterado",
    "DR-03": "Cada base de datos PostgreSQL declarada se restaura completa, aislada, y es igual a su origen",
    "DR-04": "Cada volumen declarado vuelve, entrada por entrada, con dueños, permisos, enlaces y atributos",
    "DR-05": "Cada servicio declarado da evidencia positiva de salud tras la recuperación",
    "DR-06": "Vault vuelve desde su instantánea: lo abren las partes custodiadas, políticas y accesos funcionan y el"
    " texto cifrado antiguo se descifra",
    "DR-07": "El tiempo y el punto de recuperación, medidos, cumplen sus objetivos",
    "DR-08": "Los respaldos se conservan durante el período de retención, ni menos ni más",
    "VAULT-01": "Lo que Vault cifra vuelve byte por byte, y para nadie sin el contexto y los datos asociados "
    "correctos; el texto cifrado alterado o falsificado se rechaza",
    "VAULT-02": "Las claves rotan como se declara, no pueden exportarse ni borrarse, y una versión cerrada no abre "
    "nada",
    "VAULT-03": "Las firmas y los HMAC de las claves de Vault se verifican, también sin conexión, y nada alterado se "
    "verifica",
    "VAULT-04": "Las claves de datos abren aquello para lo que se hicieron, las envueltas no muestran texto claro, y "
    "en un lote un elemento malo no oculta otro",
    "VAULT-05": "Los secretos conservan sus versiones: nadie sobrescribe un cambio que no vio, el borrado puede "
    "deshacerse, la destrucción no",
    "VAULT-06": "Cada rol puede hacer exactamente lo que concede la matriz de accesos, según solicitudes reales y "
    "según el propio Vault",
    "VAULT-07": "Los tokens terminan cuando deben: por su plazo, con su padre, tras el único uso para el que se "
    "hicieron",
    "VAULT-08": "Cada solicitud deja un registro de auditoría sin secretos, y sin un dispositivo de auditoría que "
    "funcione no se atiende nada",
    "VAULT-09": "Vault dice la verdad sobre si está sellado, y se abre con un umbral de partes de la clave, no con "
    "menos",
    "VAULT-10": "Vault se abre solo con la clave de otro Vault, y queda sellado sin ese Vault",
    "VAULT-11": "Las métricas de Vault se niegan sin token, pueden leerse y cuentan lo que ocurre",
    "VAULT-12": "Vault está endurecido: sin token raíz, con auditoría, TLS fuera del equipo, sin superusuario, sin "
    "volcados de memoria",
    "VAULT-13": "Una instantánea de Vault devuelve secretos, reglas y claves en un servidor nuevo",
    "DEMO-01": "Los datos de la demo son exactamente los especificados: 15 productos en cinco categorías, 3 pedidos,"
    " 6 conversaciones, 6 eventos, un usuario; CLP, RUT válidos, America/Santiago",
    "DEMO-02": "Sembrar de nuevo no cambia nada, repone lo que se dañó y deja en paz los datos de las visitas",
    "DEMO-03": "La limpieza quita lo que supera su límite de edad, y nada más, en cualquier momento",
    "DEMO-04": "La limpieza trabaja en lotes acotados, primero los hijos, puede detenerse y no puede hacer más",
    "DEMO-05": "Los contenedores de la demo no comparten red, puerto, volumen ni contraseña por defecto con nada",
    "DEMO-06": "Las credenciales de la demo no abren más que la demo: ninguna otra base de datos, servidor, archivo "
    "o programa",
    "DEMO-07": "Ningún rol lee ni escribe datos de otro inquilino, con ninguna sentencia",
    "DEMO-08": "Ningún usuario lee ni escribe lo que es de otro usuario del mismo inquilino",
    "DEMO-09": "Los errores, la unicidad, las claves foráneas y las estadísticas no revelan nada de otros inquilinos",
    "DEMO-10": "Una conexión reutilizada no lleva nada de una transacción a la siguiente",
    "DEMO-11": "La variante al estilo de Supabase aísla según los datos del token; quien es anónimo ve solo un "
    "escaparate",
    "DEMO-12": "El esquema contiene aquello en que se apoya el aislamiento: seguridad por filas forzada, roles "
    "simples, políticas seguras",
    "DEMO-13": "El explorador de seguridad por filas no halla ningún camino entre inquilinos en ninguna variante",
    "DEMO-14": "El n8n de la demo dice que está sano y listo",
    "CONTAINER-01": "Los procesos en contenedores corren como usuario sin privilegios, sin capacidades ni camino a "
    "ellas",
    "CONTAINER-02": "Un contenedor no puede cambiar sus programas ni su sistema de archivos raíz, ni ejecutar lo que "
    "escribió",
    "CONTAINER-03": "Los contenedores escuchan donde se declaró y se publican solo en loopback",
    "CONTAINER-04": "Un contenedor no ve de su equipo más que sus propios directorios, tiene límites y ningún secreto "
    "en su entorno",
    "CONTAINER-05": "Un servicio congelado, muerto o aislado nunca figura como sano, y uno reparado sí",
    "CONTAINER-06": "Ningún contenedor de un conjunto alcanza un servidor de otro por ninguna de sus direcciones",
    "CONTAINER-07": "Con el disco de auditoría lleno Vault no atiende nada que no quede registrado, y sigue cuando hay "
    "espacio",
    "CONTAINER-08": "Con el disco lleno PostgreSQL rechaza escrituras, conserva lo confirmado y sigue cuando hay "
    "espacio",
    "RLS-01": "Ningún rol de la aplicación lee, cambia ni averigua filas de otro inquilino",
    "OBS-01": "Cada tramo, punto de métrica y registro que se envía llega, exactamente una vez",
    "OBS-02": "Una solicitud por dos servicios y una base de datos es una sola traza: nada queda huérfano, los "
    "registros llevan sus identificadores y ningún hijo empieza antes que su padre",
    "OBS-03": "Una caída del almacén y un colector interrumpido no pierden nada de lo aceptado",
    "OBS-04": "Por sobre su límite de memoria el colector rechaza, sobrevive y se recupera",
    "OBS-05": "La telemetría se conserva el tiempo declarado y no más, en cada tabla",
    "OBS-06": "La configuración entregada es válida y usa exactamente los componentes compilados",
    "OBS-07": "Cada panel de los tableros muestra lo que se sabe que está, en la unidad correcta",
    "OBS-08": "Una alerta se activa cuando se cumple su condición, llega a alguien y se resuelve",
    "OBS-09": "Un error que una aplicación informa puede leerse después; una clave errónea se rechaza",
    "OBS-10": "Las métricas del colector, de Vault y de los simulacros se recogen y están al día",
    "OBS-11": "El arnés se observa a sí mismo: un simulacro es una traza, y su RTO y RPO son métricas",
    "OBS-12": "El colector puede hacer lo que declara; lo que le falta está enumerado",
    "PITR-01": "El respaldo base del que parte la recuperación está completo e inalterado: cada archivo, cada espacio "
    "de tablas, cada eslabón de su cadena",
    "PITR-02": "El registro de transacciones archivado es de este clúster, no tiene huecos y puede aplicarse hasta su "
    "fin",
    "PITR-03": "La recuperación a un momento devuelve lo confirmado antes de él y nada de lo confirmado después",
    "PITR-04": "Un momento que no puede alcanzarse se rechaza; no se responde con otro",
    "PITR-05": "Las bases de datos recuperadas están sanas: páginas, índices, referencias",
    "PITR-06": "El punto de recuperación, medido en el contenido, cumple su objetivo y ningún tramo queda sin cubrir",
    "PITR-07": "El simulacro no escribe nada en respaldos ni archivo, y no ejecuta nada de lo que trae el respaldo",
    "PITR-08": "Las bases de datos recuperadas son iguales, fila por fila, a lo que el origen tenía en ese momento",
    "FAILOVER-01": "Con replicación asíncrona, lo que pierde una conmutación lo cuenta el registro del propio cliente "
    "y está dentro del objetivo",
    "FAILOVER-02": "Con una réplica síncrona no se pierde ninguna transacción confirmada, le ocurra lo que le ocurra "
    "al primario, también bajo carga",
    "FAILOVER-03": "Con un quórum de réplicas no se pierde ninguna transacción confirmada, sea cual sea la más "
    "avanzada, también bajo carga",
    "FAILOVER-04": "Desde el desastre hasta la primera escritura confirmada en el nuevo primario no pasa más que el "
    "objetivo, ninguna vez",
    "FAILOVER-05": "Un primario antiguo que vuelve tras la promoción no acepta escrituras, y ningún cliente llega a él",
    "FAILOVER-06": "El primario antiguo se rebobina y vuelve a ser réplica, con el mismo contenido que el nuevo",
    "FAILOVER-07": "Un clúster de Vault que pierde su líder bajo carga no pierde ninguna escritura confirmada y elige "
    "otro",
    "FAILOVER-08": "Un clúster de Vault sin quórum no confirma ninguna escritura, y lo tiene todo cuando vuelven sus "
    "nodos",
    "FAILOVER-09": "Un modo de replicación cumple los objetivos, y se midió lo que cuesta a cada transacción",
}
"""Titles in Spanish; a check without one is shown with its English title."""


def texts(language: str) -> dict[str, str]:
    """Return every text in `language`."""
    return {key: pair[LANGUAGES.index(language)] for key, pair in TEXTS.items()}
